package conformance

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/conformance/wire"
	"github.com/fastlb/fastlb/internal/clock"
)

// some are cases of every kind.
func some(seed uint64) []wire.Case {
	fixed := Forwarding()
	var l []wire.Case
	for i := 0; i < len(fixed); i += 11 {
		l = append(l, fixed[i])
	}
	return slices.Concat(l, Schedulers(seed, 1), Sequences(seed, 5))
}

// asKernel is the result of a case as fastlb gives it, each step taking as long as in a guest.
func asKernel(t *testing.T, c *wire.Case) *wire.Result {
	t.Helper()
	d, err := newDirector()
	if err != nil {
		t.Fatal(err)
	}
	r := &wire.Result{Name: c.Name}
	now := clock.Time(0)
	for i := range c.Steps {
		o, err := d.step(&c.Steps[i], now)
		if err != nil {
			t.Fatalf("%s: %s: %v", c.Name, c.Steps[i].Text, err)
		}
		r.Outcomes = append(r.Outcomes, o)
		now += clock.Millisecond + clock.Time(c.Steps[i].Wait)*clock.Millisecond
	}
	return r
}

func TestCasesComeFromTheSeed(t *testing.T) {
	text := func(seed uint64) string {
		b, err := json.Marshal(some(seed))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	a := text(3)
	if a != text(3) {
		t.Error("the same seed makes other cases")
	}
	if a == text(4) {
		t.Error("another seed makes the same cases")
	}
}

func TestNamesAreOfOneCase(t *testing.T) {
	names := map[string]bool{}
	for _, c := range slices.Concat(Forwarding(), Schedulers(1, 2), Sequences(1, 5)) {
		if names[c.Name] {
			t.Errorf("two cases are called %s", c.Name)
		}
		names[c.Name] = true
	}
	for i := range acceptedDifferences {
		a := &acceptedDifferences[i]
		if !names[a.shown] {
			t.Errorf("there is no case %s, which an accepted difference names", a.shown)
		}
	}
}

// TestComparison compares fastlb with itself, and with itself made to differ.
func TestComparison(t *testing.T) {
	for _, c := range some(5) {
		r := asKernel(t, &c)
		if l, err := Compare(&c, r); err != nil || len(l) > 0 {
			t.Errorf("%s: %v differs from itself: %v", c.Name, err, l)
		}
		if strings.HasPrefix(c.Name, "twos") {
			continue
		}
		for _, spoil := range []struct {
			what string
			do   func(o *wire.Outcome) bool // false: there is nothing to spoil
		}{
			{"frames on", func(o *wire.Outcome) bool {
				if len(o.Sent) > 0 {
					f := &o.Sent[0]
					f.Data = bytes.Clone(f.Data)
					f.Data[len(f.Data)-1] ^= 1
				}
				return len(o.Sent) > 0
			}},
			{"frames on", func(o *wire.Outcome) bool {
				o.Sent = o.Sent[min(1, len(o.Sent)):]
				return len(o.Sent) > 0
			}},
			{"stdout", func(o *wire.Outcome) bool {
				s := o.Stdout
				o.Stdout = strings.Replace(s, " 1 ", " 7 ", 1)
				return o.Stdout != s && strings.HasPrefix(s, "IP Virtual")
			}},
			{"connections", func(o *wire.Outcome) bool {
				s := o.Stdout
				o.Stdout = strings.Replace(s, "ESTABLISHED", "FIN_WAIT   ", 1)
				return o.Stdout != s
			}},
			{"status", func(o *wire.Outcome) bool { o.Status++; return true }},
		} {
			for i := range r.Outcomes {
				was := r.Outcomes[i]
				o := was
				o.Sent = slices.Clone(was.Sent)
				if !spoil.do(&o) {
					continue
				}
				r.Outcomes[i] = o
				l, err := Compare(&c, r)
				if err != nil || len(l) == 0 || l[0].Step != i+1 || !strings.HasPrefix(l[0].What, spoil.what) {
					t.Errorf("%s: step %d spoilt in %s: %v %v", c.Name, i+1, spoil.what, err, l)
				}
				r.Outcomes[i] = was
				break
			}
		}
	}
}

// TestMask: what is random is masked in packets that the director made, and in no others.
func TestMask(t *testing.T) {
	f := make([]byte, 62)
	ip := f[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	copy(ip[12:], []byte{10, 2, 0, 254})
	copy(ip[16:], []byte{10, 2, 0, 11})
	binary.BigEndian.PutUint16(ip[22:], guePort)
	other := bytes.Clone(f)
	other[14+5], other[14+11], other[14+20] = 9, 9, 9 // id, checksum, source port
	if !bytes.Equal(masked(f), masked(other)) {
		t.Error("a tunnel's random numbers are compared")
	}
	f[14+15], other[14+15] = 7, 7 // from somebody else
	if bytes.Equal(masked(f), masked(other)) {
		t.Error("a forwarded packet's numbers are not compared")
	}
}

// TestListings: a second more or less of a timeout is the same, and so is one that is over.
func TestListings(t *testing.T) {
	want := []string{"TCP 14:59 ESTABLISHED a b c", "UDP 00:00 UDP a b c", "TCP 01:00 SYN_RECV a b c"}
	w, g := sets(want, []string{"TCP 00:58 SYN_RECV a b c", "TCP 15:00 ESTABLISHED a b c"})
	if w != want[2] || g != "TCP 00:58 SYN_RECV a b c" {
		t.Errorf("left over: %q and %q", w, g)
	}
}
