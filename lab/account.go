package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Tally is what came of one service's requests.
type Tally struct {
	Service  Service
	Requests int
	Answers  map[string]int // by the name that answered
	Failed   int
	Failure  error // the first one
}

// Kept says whether every request was answered and every server got what its weight promises.
func (t Tally) Kept() bool {
	if t.Failed > 0 {
		return false
	}
	promise := t.Service.Promise(t.Requests)
	for name, n := range t.Answers {
		if promise[name] != n {
			return false
		}
	}
	return true
}

// palette colours the servers' shares on a terminal: web1, web2, web3 …
var palette = []string{"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m"}

const plain = "\x1b[0m"

// shades tell the shares apart without colour.
var shades = []string{"█", "▒", "░", "▞"}

// WriteTallies prints who answered how often, beside what the weights promise.
func WriteTallies(w io.Writer, tallies []Tally, colour bool) {
	if len(tallies) == 0 {
		return
	}
	first := tallies[0].Service
	fmt.Fprintf(w, "  %-8s %-20s", "method", "service")
	for _, r := range first.Servers {
		fmt.Fprintf(w, " %10s", r.Name)
	}
	fmt.Fprintln(w, "  failed  shares")
	for _, t := range tallies {
		promise := t.Service.Promise(t.Requests)
		fmt.Fprintf(w, "  %-8s %-20s", t.Service.Method, t.Service.Address)
		for _, r := range t.Service.Servers {
			fmt.Fprintf(w, " %10s", fmt.Sprintf("%d of %d", t.Answers[r.Name], promise[r.Name]))
		}
		fmt.Fprintf(w, "  %6d  %s\n", t.Failed, bar(t, 30, colour))
	}
}

// bar draws the answers of each server as its share of width characters.
func bar(t Tally, width int, colour bool) string {
	var b strings.Builder
	for i, r := range t.Service.Servers {
		n := t.Answers[r.Name] * width / max(t.Requests, 1)
		switch {
		case n == 0:
		case colour:
			b.WriteString(palette[i%len(palette)] + strings.Repeat("█", n) + plain)
		default:
			b.WriteString(strings.Repeat(shades[i%len(shades)], n))
		}
	}
	return b.String()
}

// heading prints a section's title.
func heading(w io.Writer, colour bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if colour {
		text = "\x1b[1m" + text + plain
	}
	fmt.Fprintf(w, "\n%s\n\n", text)
}

// indent puts two spaces before each line.
func indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		if l != "" {
			lines[i] = "  " + l
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// attachModes reads the mode of each interface from the director's metrics (fastlb_interface_attach_info).
func attachModes(metrics string) []string {
	var modes []string
	for line := range strings.Lines(metrics) {
		labels, ok := strings.CutPrefix(line, "fastlb_interface_attach_info{")
		if !ok {
			continue
		}
		labels, value, _ := strings.Cut(labels, "}")
		if strings.TrimSpace(value) == "0" {
			continue
		}
		var name, mode string
		for label := range strings.SplitSeq(labels, ",") {
			key, text, _ := strings.Cut(label, "=")
			switch text = strings.Trim(text, `"`); key {
			case "interface":
				name = text
			case "mode":
				mode = text
			}
		}
		modes = append(modes, name+" "+mode)
	}
	slices.Sort(modes)
	return modes
}
