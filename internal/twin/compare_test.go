package twin

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/perf"
)

// dataplane is what is compared with a twin.
type dataplane interface {
	receive(now int64, nic int, frame []byte) Outcome
	command(now int64, line string) error
	advance(now int64)
	conns() []Conn
	counts() []Counts
	lost() int // frames that are gone
	asListed(now int64, conns []Conn, counts []Counts) ([]Conn, []Counts)
}

// disagreement plays events to both dataplanes and describes the first difference; "" if there is none.
func disagreement(t testing.TB, make func(testing.TB, Config) dataplane, events []event) (at int, what string) {
	tw, f := New(site()), make(t, site())
	ports := gueFlows{}
	for i, e := range events {
		if e.command != "" {
			slow, quick := tw.Command(e.at, e.command), f.command(e.at, e.command)
			if (slow == nil) != (quick == nil) {
				return i, fmt.Sprintf("command: twin %v, worker %v", slow, quick)
			}
		} else {
			want, got := tw.Receive(e.at, e.nic, e.frame), Outcome{Verdict: Pass, Reason: perf.PassNotHost}
			if want.Reason != perf.PassNotHost {
				got = f.receive(e.at, e.nic, e.frame)
			} else {
				f.advance(e.at)
			}
			if len(tw.Disputed) > 0 {
				return 0, ""
			}
			if d := outcomes(want, got, ports); d != "" {
				return i, d
			}
		}
		if len(tw.Disputed) > 0 { // either way is right: replies of a DR server through the director, timers that end together
			return 0, ""
		}
		conns, counts := f.asListed(e.at, tw.Conns(), tw.Counts())
		if d := lists(conns, f.conns()); d != "" {
			return i, "connections:\n" + d
		}
		if d := lists(counts, f.counts()); d != "" {
			return i, "counters:\n" + d
		}
		if n := f.lost(); len(tw.held) == 0 && n != 0 {
			return i, fmt.Sprintf("%d frames are missing", n)
		}
	}
	return 0, ""
}

// outcomes compares verdicts, reasons and frames.
func outcomes(want, got Outcome, ports gueFlows) string {
	if want.Reason == perf.NoNeighbor && (got.Verdict == Hold || got.Reason == perf.NeighborQueueFull) {
		return "" // the worker waits for the neighbour, with whole packets
	}
	if want.Verdict != got.Verdict && !(want.Verdict == Drop && len(want.Sent) > 0 && got.Verdict == Drop) || kind(want.Reason) != kind(got.Reason) {
		return fmt.Sprintf("verdict: twin %s %v, worker %s %v%s", want.Verdict, want.Reason, got.Verdict, got.Reason, sentText(want, got))
	}
	if want.Passed != nil && got.Passed != nil && !bytes.Equal(want.Passed, got.Passed) {
		return fmt.Sprintf("the kernel gets\n  twin   %s\n  worker %s", frameText(want.Passed), frameText(got.Passed))
	}
	return sentAlike(want, got, ports)
}

// sentAlike compares frames.
func sentAlike(want, got Outcome, ports gueFlows) string {
	if len(want.Sent) != len(got.Sent) {
		return fmt.Sprintf("frames: twin sent %d, worker %d%s", len(want.Sent), len(got.Sent), sentText(want, got))
	}
	for i := range want.Sent {
		w, g := want.Sent[i], got.Sent[i]
		a, b := w.Frame, g.Frame
		if w.Made {
			a, b = maskID(ports.adopt(a, b)), maskID(b)
		}
		if w.Interface != g.Interface || !bytes.Equal(a, b) {
			return fmt.Sprintf("frame %d differs:%s", i, sentText(want, got))
		}
	}
	return ""
}

// gueFlows are the source ports that flows have in GUE: the director's choice, but one a flow.
type gueFlows map[string]uint16

// adopt gives a GUE packet of the twin's, or its first fragment, the source port that the other dataplane chose, if that is
// one of the local port range and the flow's.
func (f gueFlows) adopt(twin, other []byte) []byte {
	at, _ := linkHeader(twin)
	proto := 0
	switch {
	case twin[at]>>4 == 4 && be.Uint16(twin[at+6:])&0x1fff == 0:
		proto, at = int(twin[at+9]), at+20
	case twin[at]>>4 == 6:
		proto, at = int(twin[at+6]), at+40
		if proto == 44 && be.Uint16(twin[at+2:])&^7 == 0 {
			proto, at = int(twin[at]), at+8
		}
	}
	if proto != protoUDP || len(other) != len(twin) {
		return twin
	}
	port := be.Uint16(other[at:])
	flow := be.AppendUint16(nil, be.Uint16(twin[at+2:]))
	inner := twin[min(at+12, len(twin)):] // nothing, in the least of fragments
	if in := embedded(inner, len(inner) > 0 && inner[0]>>4 == 6); in != nil {
		flow = append(append(flow, in.src.String()...), in.dst.String()...)
		flow = append(append(flow, byte(in.proto)), in.raw[in.head:in.head+4]...)
		if was, ok := f[string(flow)]; ok && was != port {
			return twin
		}
		f[string(flow)] = port
	}
	if port < 32768 || port > 60999 {
		return twin
	}
	b := slices.Clone(twin)
	copy(b[at:], other[at:at+2])
	if s := be.Uint16(b[at+6:]); s != 0 {
		if s = change(s, twin[at:at+2], b[at:at+2]); s == 0 {
			s = 0xffff
		}
		be.PutUint16(b[at+6:], s)
	}
	return b
}

// kind folds reasons that are a matter of taste.
func kind(r perf.Reason) perf.Reason {
	switch r {
	case perf.Runt, perf.BadIPHeader, perf.BadTransportHeader:
		return perf.Runt
	}
	if r >= perf.PassNotIP {
		return perf.PassNotIP
	}
	return r
}

func sentText(want, got Outcome) string {
	var b strings.Builder
	for _, s := range want.Sent {
		fmt.Fprintf(&b, "\n  twin   nic %d %s", s.Interface, frameText(s.Frame))
	}
	for _, s := range got.Sent {
		fmt.Fprintf(&b, "\n  worker nic %d %s", s.Interface, frameText(s.Frame))
	}
	return b.String()
}

// lists compares two lists line by line.
func lists[T fmt.Stringer](want, got []T) string {
	var w, g []string
	for _, x := range want {
		w = append(w, x.String())
	}
	for _, x := range got {
		g = append(g, x.String())
	}
	if strings.Join(w, "\n") == strings.Join(g, "\n") {
		return ""
	}
	return "  twin:\n    " + strings.Join(w, "\n    ") + "\n  worker:\n    " + strings.Join(g, "\n    ")
}

// shrink drops events as long as the two still disagree.
func shrink(t testing.TB, make func(testing.TB, Config) dataplane, events []event) []event {
	at, what := disagreement(t, make, events)
	if what == "" {
		return nil
	}
	events = events[:at+1]
	for again := true; again; {
		again = false
		for i := len(events) - 2; i >= 0; i-- {
			shorter := append(append([]event(nil), events[:i]...), events[i+1:]...)
			if at, what := disagreement(t, make, shorter); what != "" {
				events, again = shorter[:at+1], true
				i = min(i, len(events)-1)
			}
		}
	}
	return events
}

// report fails the test with the shortest sequence found.
func report(t testing.TB, make func(testing.TB, Config) dataplane, name string, events []event) {
	short := shrink(t, make, events)
	_, what := disagreement(t, make, short)
	var b strings.Builder
	for _, e := range short {
		fmt.Fprintf(&b, "  %v\n", e)
	}
	t.Errorf("%s: after\n%s%s", name, b.String(), what)
}

// TestWorkerAgrees compares the worker with the twin on random sequences, most of them short, some long.
func TestWorkerAgrees(t *testing.T) {
	n := uint64(2500)
	if testing.Short() {
		n = 400
	}
	failed := 0
	for seed := range n {
		events := sequence(nil, seed, 30+int(seed%8)/7*170)
		if _, what := disagreement(t, newFast, events); what != "" {
			report(t, newFast, fmt.Sprintf("seed %d", seed), events)
			if failed++; failed == 3 {
				t.Fatal("stopped after three disagreements")
			}
		}
	}
}
