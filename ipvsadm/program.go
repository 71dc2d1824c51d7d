package ipvsadm

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
)

// versionLine is the version whose behaviour this is.
const versionLine = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n"

//go:embed usage.txt
var usage string

const saveUsage = "ipvsadm-save: Script to save the IPVS table to stdout.\n" +
	"   With the -n option, prints out the table in numeric format.\n"

// Main is ipvsadm, ipvsadm-save or ipvsadm-restore, by name; it returns the exit status. In messages the program's name
// is always ipvsadm.
func Main(name string, args []string, stdin io.Reader, stdout, stderr io.Writer, e Engine) (status int) {
	return Run(name, args, stdin, stdout, stderr, e, SystemNames())
}

// Run is Main with names from elsewhere than the machine.
func Run(name string, args []string, stdin io.Reader, stdout, stderr io.Writer, e Engine, names *Names) (status int) {
	p := &program{in: stdin, out: bufio.NewWriter(stdout), err: stderr, engine: e, names: names}
	defer p.out.Flush()
	switch name {
	case "ipvsadm-save":
		return p.saveScript(args)
	case "ipvsadm-restore":
		return p.restoreScript()
	}
	status, _ = p.line(args, false)
	return status
}

// program is one call.
type program struct {
	in     io.Reader
	out    *bufio.Writer
	err    io.Writer
	engine Engine
	names  *Names
}

// line carries out one command line. Its fault is told here; ends says that a -R must go no further.
func (p *program) line(words []string, restoring bool) (status int, ends bool) {
	c, err := Parse(words, p.names)
	if err == nil {
		err = p.do(c, restoring)
	}
	p.out.Flush()
	if err == nil {
		return 0, c.action == help || c.action == showVersion
	}
	var f *Fault
	if !errors.As(err, &f) {
		f = &Fault{Text: err.Error(), Status: 1, Ends: true}
	}
	if f.Text != "" {
		fmt.Fprintln(p.err, f.Text)
	}
	return f.Status, f.Ends
}

// do carries out one command.
func (p *program) do(c *Command, restoring bool) error {
	switch c.action {
	case help:
		p.out.WriteString(versionLine + usage)
	case showVersion:
		p.out.WriteString(versionLine)
	case list:
		return p.list(c)
	case save:
		return p.save(c)
	case restore:
		if restoring {
			return tryHelp()
		}
		return p.restore(p.in)
	default:
		op, _ := c.Op()
		if err := p.engine.Do(op); err != nil {
			return p.doFault(err, c)
		}
	}
	return nil
}

// restore carries out -R: a command line a line, the status that of the last.
func (p *program) restore(in io.Reader) error {
	status := 0
	lines := bufio.NewReader(in)
	for {
		text, err := lines.ReadString('\n')
		if words := RuleWords(text); len(words) > 0 {
			s, ends := p.line(words, true)
			if status = s; ends {
				return &Fault{Status: status, Ends: true}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return wrong("fastlb: standard input: %v", err)
		}
	}
	if status != 0 {
		return &Fault{Status: status}
	}
	return nil
}

// RuleWords splits a line of rules as -R does; the program's name may stand anywhere in it.
func RuleWords(line string) []string {
	words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' })
	kept := words[:0]
	for _, w := range words {
		if w != "ipvsadm" {
			kept = append(kept, w)
		}
	}
	return kept
}

// saveScript is ipvsadm-save.
func (p *program) saveScript(args []string) int {
	words := []string{"-S"}
	for _, a := range args {
		switch {
		case a == "-n":
			words = []string{"-S", "-n"}
		case strings.HasPrefix(a, "-"):
			io.WriteString(p.err, saveUsage)
			return 1
		}
	}
	status, _ := p.line(words, false)
	return status
}

// restoreScript is ipvsadm-restore: the rules that are no comments replace the table.
func (p *program) restoreScript() int {
	text, err := io.ReadAll(p.in)
	if err != nil {
		fmt.Fprintf(p.err, "fastlb: standard input: %v\n", err)
		return 1
	}
	var rules strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			rules.WriteString(line)
		}
	}
	if status, ends := p.line([]string{"-C"}, false); ends {
		return status
	}
	p.in = strings.NewReader(rules.String())
	status, _ := p.line([]string{"-R"}, false)
	return status
}
