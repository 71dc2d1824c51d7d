package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/conformance/wire"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/scenario/frame"
)

// Difference is a step that came out otherwise.
type Difference struct {
	Case           string
	Step           int    // counts from 1
	Text           string // of the step
	What           string // frames on c, stdout, connections …
	Kernel, Fastlb string
	Accepted       string // why it may stay so; "" if it may not
}

func (d *Difference) String() string {
	indent := func(s string) string {
		if s == "" {
			s = "(nothing)"
		}
		return "      " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n      ") + "\n"
	}
	return fmt.Sprintf("  step %d: %s: %s\n    kernel\n%s    fastlb\n%s", d.Step, d.Text, d.What, indent(d.Kernel), indent(d.Fastlb))
}

// most is how many differences of a case are told.
const most = 3

// Compare plays a case through fastlb at the times of the kernel's steps and returns what differs, the first few only:
// after one difference others follow.
func Compare(c *wire.Case, r *wire.Result) (l []Difference, err error) {
	d, err := newDirector()
	if err != nil {
		return nil, err
	}
	if r.Error != "" {
		return nil, fmt.Errorf("case %s: the guest: %s", c.Name, r.Error)
	}
	if len(r.Outcomes) != len(c.Steps) {
		return nil, fmt.Errorf("case %s: %d outcomes of %d steps", c.Name, len(r.Outcomes), len(c.Steps))
	}
	lots := strings.HasPrefix(c.Name, "twos")
	faults := 0
	for i := range c.Steps {
		s, want := &c.Steps[i], &r.Outcomes[i]
		got, err := d.step(s, clock.Time(want.At)*1000)
		if err != nil {
			return nil, fmt.Errorf("case %s: step %d, %s: fastlb: %w", c.Name, i+1, s.Text, err)
		}
		for _, x := range differences(s, want, &got, lots) {
			x.Case, x.Step, x.Text = c.Name, i+1, s.Text
			x.Accepted = acceptance(&x)
			l = append(l, x)
			if x.Accepted == "" {
				faults++
			}
		}
		if faults >= most {
			break
		}
	}
	return l, nil
}

// differences compares the outcomes of one step. Of a scheduler that draws lots only the number of frames is compared.
func differences(s *wire.Step, want, got *wire.Outcome, lots bool) (l []Difference) {
	add := func(what, kernel, fastlb string) {
		l = append(l, Difference{What: what, Kernel: kernel, Fastlb: fastlb})
	}
	for _, side := range []string{"c", "r"} {
		w, g := pick(want.Sent, side), pick(got.Sent, side)
		if lots {
			if len(w) != len(g) {
				add("frames on "+side, fmt.Sprint(len(w)), fmt.Sprint(len(g)))
			}
		} else if w, g, same := frames(w, g); !same {
			add("frames on "+side, w, g)
		}
	}
	if want.Status != got.Status {
		add("status", strconv.Itoa(want.Status), strconv.Itoa(got.Status))
	}
	if want.Stderr != got.Stderr {
		add("stderr", want.Stderr, got.Stderr)
	}
	switch {
	case lots:
	case slices.Contains(s.Command, "-c"):
		if w, g := sets(connectionLines(want.Stdout), connectionLines(got.Stdout)); w != "" || g != "" {
			add("connections", w, g)
		}
	default:
		if w, g := listing(want.Stdout), listing(got.Stdout); w != g {
			add("stdout", w, g)
		}
	}
	return l
}

func pick(l []wire.Frame, side string) (out [][]byte) {
	for _, f := range l {
		if f.Side == side {
			out = append(out, masked(f.Data))
		}
	}
	return out
}

// frames compares and describes what was sent on one side.
func frames(want, got [][]byte) (w, g string, same bool) {
	same = len(want) == len(got)
	var ws, gs []string
	for i := range max(len(want), len(got)) {
		var a, b []byte
		if i < len(want) {
			a = want[i]
			ws = append(ws, frame.Describe(a))
		}
		if i < len(got) {
			b = got[i]
			gs = append(gs, frame.Describe(b))
		}
		if a == nil || b == nil || slices.Equal(a, b) {
			continue
		}
		same = false
		if ws[i] == gs[i] { // the words do not show it
			at := 0
			for at < min(len(a), len(b)) && a[at] == b[at] {
				at++
			}
			ws[i] += fmt.Sprintf("\n  %d bytes, from %d: %x", len(a), at, a[at:min(at+16, len(a))])
			gs[i] += fmt.Sprintf("\n  %d bytes, from %d: %x", len(b), at, b[at:min(at+16, len(b))])
		}
	}
	return strings.Join(ws, "\n"), strings.Join(gs, "\n"), same
}

// connectionLines are the lines of ipvsadm -Lnc below its header.
func connectionLines(out string) []string {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	return lines[min(2, len(lines)):]
}

// sets are the connections that only one of two listings has, in any order. What is left of a timeout may differ by a
// second; a connection of which nothing is left may be gone already, for the kernel's timers are late.
func sets(want, got []string) (w, g string) {
	left := slices.Clone(want)
	var extra []string
	for _, l := range got {
		if i := slices.IndexFunc(left, func(x string) bool { return sameConnection(x, l) }); i >= 0 {
			left = slices.Delete(left, i, i+1)
		} else {
			extra = append(extra, l)
		}
	}
	over := func(l string) bool {
		x := strings.Fields(l)
		return len(x) > 1 && x[1] == "00:00"
	}
	left, extra = slices.DeleteFunc(left, over), slices.DeleteFunc(extra, over)
	return strings.Join(left, "\n"), strings.Join(extra, "\n")
}

func sameConnection(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	if len(x) != len(y) || len(x) < 6 {
		return false
	}
	d := expires(x[1]) - expires(y[1])
	x[1], y[1] = "", ""
	return slices.Equal(x, y) && d >= -1 && d <= 1
}

// expires reads MM:SS.
func expires(s string) int {
	m, sec, _ := strings.Cut(s, ":")
	a, _ := strconv.Atoi(m)
	b, _ := strconv.Atoi(sec)
	return a*60 + b
}
