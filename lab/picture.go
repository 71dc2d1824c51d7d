package lab

import (
	"fmt"
	"io"
	"strings"
)

// column is the width of a node's place in the picture.
const column = 13

// canvas is a grid of characters to draw on.
type canvas [][]rune

func newCanvas(width, height int) canvas {
	c := make(canvas, height)
	for y := range c {
		c[y] = []rune(strings.Repeat(" ", width))
	}
	return c
}

// centred writes text around column x of line y.
func (c canvas) centred(x, y int, text string) {
	r := []rune(text)
	c.at(x-len(r)/2, y, text)
}

func (c canvas) at(x, y int, text string) {
	for i, r := range []rune(text) {
		if x+i >= 0 && x+i < len(c[y]) {
			c[y][x+i] = r
		}
	}
}

func (c canvas) write(w io.Writer, indent string) {
	for _, line := range c {
		fmt.Fprintln(w, strings.TrimRight(indent+string(line), " "))
	}
}

// Picture draws the site: the client above the outside segment, the director and the servers between the two.
func (p *Plan) Picture(w io.Writer) {
	nodes := append([]Node{p.Router}, p.Servers...)
	rail := column * len(nodes)
	labels := 40
	c := newCanvas(rail+labels, 12)
	centre := func(i int) int { return i*column + column/2 }

	// The client hangs between the director and the servers.
	x := column
	c.at(x-4, 0, "┌────────┐")
	c.at(x-4, 1, fmt.Sprintf("│ client │ %s  %s", p.Client.Interfaces[0].V4(), p.Client.Interfaces[0].V6()))
	c.at(x-4, 2, "└───┬────┘")
	c.at(x, 3, "│")

	draw := func(y int, s Segment) {
		c.at(0, y, strings.Repeat("━", rail))
		c.at(rail+1, y, fmt.Sprintf("%-7s  %s  %s", s.Name, s.V4, s.V6))
	}
	draw(4, outside)
	draw(11, inside)
	c.at(x, 4, "┷")
	for i, n := range nodes {
		at := centre(i)
		c.at(at, 4, "┯")
		c.at(at, 5, "│ "+lastPart(n.Interfaces[0]))
		c.at(at-5, 6, "┌────┴────┐")
		c.at(at-5, 7, "│         │")
		c.centred(at, 7, n.Name)
		c.at(at-5, 8, "│         │")
		if i == 0 {
			c.centred(at, 8, "AF_XDP")
		} else {
			c.centred(at, 8, fmt.Sprintf("weight %d", weights[(i-1)%len(weights)]))
		}
		c.at(at-5, 9, "└────┬────┘")
		c.at(at, 10, "│ "+lastPart(n.Interfaces[1]))
		c.at(at, 11, "┷")
	}
	c.write(w, "  ")
}

// lastPart is the part of an interface's addresses that tells it from others: .11 for 192.0.2.11 and 2001:db8::11.
func lastPart(i Interface) string {
	text := i.V4().String()
	return text[strings.LastIndexByte(text, '.'):]
}
