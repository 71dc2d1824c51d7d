package perf

import "testing"

// Every reason has a text of its own and an explanation; passes come after drops.
func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for r := Reason(0); int(r) < Reasons; r++ {
		if seen[r.String()] || r.String() == "" {
			t.Errorf("reason %d: text %q", r, r)
		}
		seen[r.String()] = true
		if r != ReasonNone && r.Doc() == "" {
			t.Errorf("%v has no explanation", r)
		}
	}
	if len(reasonTexts) != Reasons || TXFull.IsPass() || !PassICMP.IsPass() {
		t.Error("the generated texts are not of these reasons")
	}
}

// Batches fall into buckets of doubling size, empty rounds into the first.
func TestRound(t *testing.T) {
	var w Worker
	w.Init(1)
	for _, n := range []int{0, 1, 2, 3, 64, 256} {
		w.Round(n)
	}
	for i, want := range map[int]uint64{0: 1, 1: 1, 2: 2, 7: 1, 9: 1} {
		if got := w.Batches[i].Load(); got != want {
			t.Errorf("bucket %d: %d, want %d", i, got, want)
		}
	}
	if w.Rounds.Load() != 6 || w.Busy.Load() != 5 || w.Packets.Load() != 326 {
		t.Errorf("%d rounds, %d busy, %d packets", w.Rounds.Load(), w.Busy.Load(), w.Packets.Load())
	}
}
