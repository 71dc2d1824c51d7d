package scenario

import (
	"fmt"
	"os"
	"strings"
)

// column is where results are written.
const column = 64

// line is one command of a script with what is expected of it; a line with an empty command stands as it is.
type line struct {
	number  int
	raw     string // comments, empty lines
	command string // without trailing blanks
	want    []string
	output  []string
}

// Script is a scenario file.
type Script struct {
	Name  string
	lines []*line
}

// Read reads a scenario file.
func Read(name string) (*Script, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, string(b))
}

// Parse reads a scenario from text; name is for messages.
func Parse(name, text string) (*Script, error) {
	s := &Script{Name: name}
	var last *line
	for i, raw := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		trimmed := strings.TrimSpace(raw)
		indented := raw != strings.TrimLeft(raw, " \t")
		switch {
		case trimmed == "" || trimmed[0] == '#':
			s.lines = append(s.lines, &line{number: i + 1, raw: raw})
		case indented && last != nil && strings.HasPrefix(trimmed, "=>"):
			last.want = append(last.want, strings.TrimSpace(trimmed[2:]))
		case indented && last != nil && trimmed[0] == '|':
			last.output = append(last.output, strings.TrimPrefix(trimmed[1:], " "))
		case indented:
			return nil, fmt.Errorf("%s:%d: an indented line begins with => or |", name, i+1)
		default:
			command, want, ok := strings.Cut(raw, "=>")
			last = &line{number: i + 1, command: strings.TrimRight(command, " \t")}
			if ok {
				last.want = []string{strings.TrimSpace(want)}
			}
			s.lines = append(s.lines, last)
		}
	}
	return s, nil
}

// Fault is a line that came out otherwise.
type Fault struct {
	Line    int
	Command string
	Want    string
	Got     string
}

func (f Fault) String() string {
	indent := func(s string) string {
		if s == "" {
			s = "(nothing said)"
		}
		return "        " + strings.ReplaceAll(s, "\n", "\n        ")
	}
	return fmt.Sprintf("line %d: %s\n    want\n%s\n    got\n%s", f.Line, f.Command, indent(f.Want), indent(f.Got))
}

// Run plays the script and returns the lines that came out otherwise, the script as it ought to be written, and which
// reasons for dropping or passing packets it met. An error is a line that cannot be carried out at all.
func (s *Script) Run() (faults []Fault, text string, met map[string]bool, err error) {
	p := &play{met: map[string]bool{}}
	var out strings.Builder
	for _, l := range s.lines {
		if l.command == "" {
			out.WriteString(l.raw + "\n")
			continue
		}
		p.begin()
		if err := p.do(l.command); err != nil {
			return nil, "", nil, fmt.Errorf("%s:%d: %s: %w", s.Name, l.number, l.command, err)
		}
		p.events = folded(p.events)
		got := render(p.events, p.output)
		if want := render(l.want, l.output); want != got {
			faults = append(faults, Fault{l.number, l.command, want, got})
		}
		write(&out, l.command, p.events, p.output)
	}
	return faults, out.String(), p.met, nil
}

// render is a result as faults show and compare it.
func render(events, output []string) string {
	var all []string
	for _, e := range events {
		all = append(all, "=> "+e)
	}
	for _, o := range output {
		all = append(all, strings.TrimRight("| "+o, " "))
	}
	return strings.Join(all, "\n")
}

// write adds a command with its results to the script's new text.
func write(b *strings.Builder, command string, events, output []string) {
	b.WriteString(command)
	for i, e := range events {
		pad := column
		if i == 0 {
			pad = max(1, column-len(command))
		} else {
			b.WriteString("\n")
		}
		b.WriteString(strings.Repeat(" ", pad) + "=> " + e)
	}
	for _, o := range output {
		b.WriteString("\n" + strings.TrimRight("    | "+o, " "))
	}
	b.WriteString("\n")
}
