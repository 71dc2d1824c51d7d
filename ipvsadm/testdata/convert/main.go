// Command convert turns recorded command lines (JSON lines: {"case", "steps": [{"argv", "stdin", "stdout", "stderr",
// "status"}], "state"}) into a txtar archive of transcripts, one file a case:
//
//	convert < cli.jsonl > linux-7.3.txtar
//
// In a transcript "$ " begins a command, "< " a line of its input, "> " one of its output, "! " one on stderr, and
// "= N" is its exit status where that is not 0. What recordings do to /etc/hosts becomes a command "hosts ADDRESS NAME…".
// The listing that a recording ends with becomes a last command.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
)

type step struct {
	Argv           []string
	Stdin          *string
	Stdout, Stderr string
	Status         int
}

func main() {
	in := json.NewDecoder(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	for in.More() {
		var c struct {
			Case  string
			Steps []step
			State *string
		}
		if err := in.Decode(&c); err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(out, "-- %s --\n", c.Case)
		if c.State != nil {
			c.Steps = append(c.Steps, step{Argv: []string{"ipvsadm", "-Sn"}, Stdout: *c.State})
		}
		for _, s := range c.Steps {
			if len(s.Argv) == 3 && s.Argv[0] == "sh" {
				text := strings.TrimPrefix(strings.TrimSuffix(s.Argv[2], " >> /etc/hosts"), "echo ")
				fmt.Fprintf(out, "$ hosts %s\n", text)
				continue
			}
			fmt.Fprint(out, "$")
			for _, w := range s.Argv {
				fmt.Fprint(out, " ", quote(w))
			}
			fmt.Fprintln(out)
			if s.Stdin != nil {
				lines(out, "<", *s.Stdin)
			}
			lines(out, ">", s.Stdout)
			lines(out, "!", s.Stderr)
			if s.Status != 0 {
				fmt.Fprintf(out, "= %d\n", s.Status)
			}
		}
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

// lines writes text, each line after mark; the last one always has its newline in what is recorded.
func lines(w *bufio.Writer, mark, text string) {
	for l := range strings.Lines(text) {
		fmt.Fprintf(w, "%s %s\n", mark, strings.TrimSuffix(l, "\n"))
	}
}

// quote puts a word in single quotes where a shell would need them.
func quote(w string) string {
	if w != "" && !strings.ContainsAny(w, " \t'\"") {
		return w
	}
	return "'" + w + "'"
}
