package flow

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
)

// With tracked deadlines connections expire at their instant, in order, whatever happened to the deadlines meanwhile.
func TestTrackedDeadlines(t *testing.T) {
	const conns = 2000
	tab := newTable(t, conns, 2)
	tab.TrackDeadlines()
	if d := tab.NextDeadline(); d != int64(clock.Never) {
		t.Errorf("an empty table's next deadline is %d", d)
	}
	rng := rand.New(rand.NewPCG(2, 2))
	want := map[Ref]int64{}
	now := int64(1_700_000_000_000_000_000)
	var expired []Ref
	expire := func(r Ref) int64 {
		if d := tab.Conn(r).Deadline; d != want[r] || d > now {
			t.Fatalf("record %d expires at %d, is due at %d, wanted %d", r, now, d, want[r])
		}
		expired = append(expired, r)
		if len(expired)%10 == 0 {
			want[r] = now + KeepTimeout
			return want[r]
		}
		delete(want, r)
		tab.Remove(0, r)
		return 0
	}
	for n := range uint32(5000) {
		now += rng.Int64N(1e6)
		tab.BeginRound(0)
		tab.BeginRound(1)
		if r, won := addConn(tab, int(n%2), n, n%2*3, now+rng.Int64N(1e8)); won {
			want[r] = tab.Conn(r).Deadline
		}
		for r := range want {
			if rng.IntN(3) > 0 {
				break
			}
			d := now + rng.Int64N(2e8)
			want[r] = d
			if d < tab.Conn(r).Deadline {
				tab.Shorten(r, d)
			} else {
				tab.Touch(tab.Conn(r), d)
			}
		}
		next := int64(clock.Never)
		for _, d := range want {
			next = min(next, d)
		}
		if d := tab.NextDeadline(); d != next {
			t.Fatalf("next deadline %d, want %d", d, next)
		}
		if next <= now {
			expired = expired[:0]
			tab.Sweep(0, now, 1, expire)
			for r, d := range want {
				if d <= now {
					t.Fatalf("record %d is due at %d and was not expired at %d", r, d, now)
				}
			}
		}
	}
	// All that is left, in order.
	var order []int64
	for d := tab.NextDeadline(); d != int64(clock.Never); d = tab.NextDeadline() {
		now = d
		tab.Sweep(0, now, 1, func(r Ref) int64 {
			order = append(order, tab.Conn(r).Deadline)
			tab.Remove(0, r)
			return 0
		})
	}
	if !slices.IsSorted(order) || tab.Len() != 0 {
		t.Errorf("%d left, in order: %v", tab.Len(), slices.IsSorted(order))
	}
	checkTable(t, tab)
}

// Each worker sweeps its share, and together they sweep everything, whatever the budget.
func TestSweepShares(t *testing.T) {
	for _, workers := range []int{1, 2, 3} {
		tab := newTable(t, 3000, workers)
		for n := range uint32(3000) {
			if _, won := addConn(tab, 0, n, 3, 5e9+int64(n)); !won {
				t.Fatal("full")
			}
		}
		seen := map[Ref]int{}
		var w int
		expire := func(r Ref) int64 {
			if old, ok := seen[r]; ok {
				t.Fatalf("record %d was expired by worker %d and %d", r, old, w)
			}
			seen[r] = w
			tab.Remove(w, r)
			return 0
		}
		for w = range workers {
			for range 3000 / 70 * 2 {
				tab.Sweep(w, 4e9, 70, expire)
			}
		}
		if len(seen) != 0 {
			t.Errorf("%d expired before their time", len(seen))
		}
		for w = range workers {
			for range 3000/70 + 2 {
				tab.Sweep(w, 6e9, 70, expire)
			}
		}
		if len(seen) != 3000 {
			t.Errorf("%d workers expired %d", workers, len(seen))
		}
		checkTable(t, tab)
	}
}

// A deadline across the wrap of the coarse units, before and after 1970's.
func TestUnits(t *testing.T) {
	for _, base := range []int64{0, 1 << 57, 1<<57 - 1<<26, 1_700_000_000_000_000_000, -5e9} {
		tab := newTable(t, 10, 1)
		addConn(tab, 0, 1, 3, base+10e9)
		n := 0
		expire := func(r Ref) int64 { n++; tab.Remove(0, r); return 0 }
		for s := int64(0); s < 10; s++ {
			tab.Sweep(0, base+s*1e9, 100, expire)
		}
		if n != 0 {
			t.Errorf("base %d: expired early", base)
		}
		if tab.Sweep(0, base+10e9, 100, expire); n != 1 {
			t.Errorf("base %d: did not expire in time", base)
		}
	}
}
