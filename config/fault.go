package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Place is a position in a file; lines and columns count from 1, 0 is unknown.
type Place struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func (p Place) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Fault is one thing wrong, or doubtful, in a configuration.
type Fault struct {
	Place
	Key  string `json:"key,omitempty"` // "services[0].servers[1].weight"
	What string `json:"what"`          // what is wrong and what to do
}

func (f Fault) Error() string {
	var parts []string
	for _, s := range []string{f.Place.String(), f.Key, f.What} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// Faults is every fault of a configuration, in the order of the file.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sort puts faults in the order of the file; those without a place come last.
func (f Faults) sort() {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(cmpLine(a.Line), cmpLine(b.Line)), cmp.Compare(a.Column, b.Column))
	})
}

func cmpLine(n int) int {
	if n == 0 {
		return 1 << 30
	}
	return n
}
