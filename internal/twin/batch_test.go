package twin

import (
	"fmt"
	"maps"
	"testing"

	"github.com/fastlb/fastlb/perf"
)

// batches lets frames that come on one NIC with no command between them come at once, so many at most. No server answers
// what has not left yet: after a client's packet on the servers' side there is a new batch.
func batches(events []event, most int) (l [][]event) {
	for i, e := range events {
		n := len(l) - 1
		joins := n >= 0 && len(l[n]) < most && l[n][0].command == "" && e.command == "" && e.nic == l[n][0].nic
		if joins && e.nic == 1 {
			before := events[i-1].note
			joins = before == "reply" || before == "fragment" || before == "icmp"
		}
		if joins {
			e.at = l[n][0].at
			l[n] = append(l[n], e)
			continue
		}
		l = append(l, []event{e})
	}
	return l
}

// batchDisagreement is disagreement for frames that come in batches; of verdicts it compares which there are.
func batchDisagreement(t testing.TB, events []event, most int) string {
	tw, f := New(site()), newFast(t, site()).(*fast)
	ports := gueFlows{}
	for _, b := range batches(events, most) {
		now := b[0].at
		if b[0].command != "" {
			if slow, quick := tw.Command(now, b[0].command), f.command(now, b[0].command); (slow == nil) != (quick == nil) {
				return fmt.Sprintf("command %s: twin %v, worker %v", b[0].command, slow, quick)
			}
			continue
		}
		var want [2][]Sent
		var frames [][]byte
		wantKinds, gotKinds := map[perf.Reason]bool{}, map[perf.Reason]bool{}
		text := ""
		for _, e := range b {
			text += fmt.Sprintf("  %v\n", e)
			o := tw.Receive(now, e.nic, e.frame)
			if o.Reason == perf.NoNeighbor {
				return "" // the worker waits
			}
			if o.Reason == perf.PassNotHost {
				continue
			}
			frames = append(frames, e.frame)
			if o.Reason != perf.ReasonNone {
				wantKinds[kind(o.Reason)] = true
			}
			for _, s := range o.Sent {
				want[s.Interface] = append(want[s.Interface], s)
			}
		}
		f.advance(now)
		if len(tw.Disputed) > 0 {
			return ""
		}
		before := f.reasons()
		*f.ports[0].sent = nil
		f.take(now, b[0].nic, frames...)
		for r, n := range f.reasons() {
			if n != before[r] {
				gotKinds[kind(perf.Reason(r))] = true
			}
		}
		if !maps.Equal(wantKinds, gotKinds) {
			return fmt.Sprintf("after\n%sverdicts: twin %v, worker %v", text, wantKinds, gotKinds)
		}
		var got [2][]Sent
		for _, s := range *f.ports[0].sent {
			got[s.Interface] = append(got[s.Interface], s)
		}
		for nic := range want {
			if d := sentAlike(Outcome{Sent: want[nic]}, Outcome{Sent: got[nic]}, ports); d != "" {
				return "after\n" + text + d
			}
		}
		conns, counts := f.asListed(now, tw.Conns(), tw.Counts())
		if d := lists(conns, f.conns()); d != "" {
			return "after\n" + text + "connections:\n" + d
		}
		if d := lists(counts, f.counts()); d != "" {
			return "after\n" + text + "counters:\n" + d
		}
	}
	return ""
}

// TestBatchesAgree compares the worker with the twin where frames come in batches, long ones among short ones.
func TestBatchesAgree(t *testing.T) {
	n := uint64(400)
	if testing.Short() {
		n = 80
	}
	for seed := range n {
		events := sequence(nil, 200000+seed, 60)
		if what := batchDisagreement(t, events, 2+int(seed%7)); what != "" {
			t.Fatalf("seed %d: %s", seed, what)
		}
	}
}
