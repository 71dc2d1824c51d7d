package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// table lines up words for people: columns two blanks apart, words to the left, figures to the right, and no blanks at
// the end of a line.
type table struct {
	align string // a letter for each column: l or r
	rows  [][]string
}

// row adds a line; missing cells are empty.
func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the lines after an empty one.
func (t *table) print(w io.Writer) {
	width := make([]int, len(t.align))
	for _, r := range t.rows {
		for i, cell := range r {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, r := range t.rows {
		var line strings.Builder
		for i, cell := range r {
			blanks := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if t.align[i] == 'r' {
				cell = blanks + cell
			} else {
				cell += blanks
			}
			line.WriteString(cell + "  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	io.WriteString(w, "\n"+b.String())
}
