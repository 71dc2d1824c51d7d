package flow

import (
	"sync/atomic"
	"testing"
)

// checkTable holds the table against its invariants while nobody uses it.
func checkTable(t *testing.T, tab *Table) {
	t.Helper()
	in, out := make([]int, tab.capacity+1), make([]int, tab.capacity+1)
	passed := make([]uint64, len(tab.index))
	for b := range tab.index {
		for s, w := range tab.index[b] {
			if w &= wordMask; w == 0 {
				continue
			}
			if _, _, ok := tab.validWord(uint32(b), w); !ok {
				t.Fatalf("bucket %d slot %d: word %x is nobody's", b, s, w)
			}
			c := &tab.recs[Ref(w)]
			k := c.InKey()
			if w&wordOut != 0 {
				out[Ref(w)]++
				k = c.OutKey()
			} else {
				in[Ref(w)]++
			}
			n, _ := tab.probeOf(tab.home(tab.Hash(&k)), uint32(b))
			for i := range n {
				passed[tab.probe(tab.home(tab.Hash(&k)), i)]++
			}
		}
	}
	for b := range passed {
		if have := tab.index[b][0] >> passedShift; have != passed[b] && have != passedMax {
			t.Fatalf("bucket %d: passed is %d, want %d", b, have, passed[b])
		}
	}
	live := 0
	state := make([]string, tab.capacity+1)
	for r := Ref(1); r <= Ref(tab.pool.used()); r++ {
		if !tab.published(r) {
			if in[r]+out[r] > 0 {
				t.Fatalf("record %d is not published and has %d + %d words", r, in[r], out[r])
			}
			continue
		}
		live++
		state[r] = "live"
		c := &tab.recs[r]
		wantOut := 0
		if c.Flags&(FlagTemplate|FlagMethodMask) == methodNAT {
			wantOut = 1
		}
		if in[r] != 1 || out[r] != wantOut {
			t.Fatalf("record %d has %d client and %d server words, want 1 and %d", r, in[r], out[r], wantOut)
		}
		if lead := (unitOf(c.Deadline) - tab.sweep[r]) & unitMask; lead >= unitAhead {
			t.Fatalf("record %d: swept from unit %d on, but due in %d", r, tab.sweep[r], unitOf(c.Deadline))
		}
	}
	if live != tab.Len() {
		t.Fatalf("%d records are published, len is %d", live, tab.Len())
	}
	free := 0
	for r := Ref(1); r <= Ref(tab.pool.used()); r++ {
		if !tab.published(r) {
			continue
		}
		tab.eachSide(tab.side(r), func(s Ref) {
			if state[s] != "" {
				t.Fatalf("record %d is %s and holds engine data", s, state[s])
			}
			state[s] = "engine data"
			live++
		})
	}
	mark := func(where string, head Ref, n uint32, counted bool) {
		got := uint32(0)
		for r := head; r != 0; r = Ref(tab.sweep[r] &^ link) {
			if counted && got == n {
				break
			}
			if state[r] != "" {
				t.Fatalf("record %d is %s and %s", r, state[r], where)
			}
			state[r] = where
			got++
			free++
		}
		if counted && got != n {
			t.Fatalf("%s: %d records, want %d", where, got, n)
		}
	}
	for i := range tab.local {
		w := &tab.local[i]
		mark("in a magazine", w.loaded.head, w.loaded.n, true)
		mark("in a magazine", w.spare.head, w.spare.n, true)
		for j := range w.limbo {
			mark("in limbo", w.limbo[j].head, 0, false)
		}
		mark("adopted", w.adopted.head, 0, false)
	}
	mark("orphaned", Ref(tab.orphan.Load()), 0, false)
	for n := uint32(tab.pool.full.Load()); n != 0; n = tab.pool.nodes[n-1].next.Load() {
		m := tab.pool.nodes[n-1].magazine
		mark("in the pool", m.head, m.n, true)
	}
	if want := int(tab.pool.used()) - live; free != want {
		t.Fatalf("%d records are free, want %d: %d are lost", free, want, want-free)
	}
}

func atomicLoad32(p *int32) int32 { return atomic.LoadInt32(p) }
