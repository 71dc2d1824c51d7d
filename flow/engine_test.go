package flow

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fastlb/fastlb/packet"
)

func newEngineTable(t *testing.T, capacity uint32) ([]byte, *Table) {
	t.Helper()
	mem := AlignedBytes(Size(capacity))
	tab, err := New(mem, Config{Capacity: capacity, Seed: [2]uint64{3, 4}, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	tab.BeginRound(0)
	tab.BeginRound(1)
	return mem, tab
}

func engineTemplate(tab *Table, worker int, client byte, data []byte) Ref {
	r := tab.Alloc(worker)
	if r == 0 {
		return 0
	}
	*tab.Conn(r) = Conn{Client: packet.AddrFrom4([]byte{10, 0, 0, client}), VPort: 5060, CPort: 1, Proto: 17, Flags: FlagTemplate, Deadline: 1 << 40}
	if !tab.SetEngineData(worker, r, data) {
		tab.Free(worker, r)
		return 0
	}
	return r
}

// rounds lets every grace period pass.
func rounds(tab *Table) {
	for range 4 {
		tab.BeginRound(0)
		tab.BeginRound(1)
	}
}

func TestEngineData(t *testing.T) {
	_, tab := newEngineTable(t, 64)
	var refs []Ref
	for i, n := range []int{1, 119, 120, 121, 240, 241, 255} {
		data := bytes.Repeat([]byte{byte('a' + i)}, n)
		r := engineTemplate(tab, 0, byte(i), data)
		if _, won := tab.Insert(0, r); !won {
			t.Fatal("lost")
		}
		refs = append(refs, r)
		if !tab.EngineDataIs(r, data) || tab.EngineDataIs(r, data[1:]) || tab.EngineDataIs(r, append(data[:n-1:n-1], 'z')) {
			t.Errorf("%d bytes: compares wrongly", n)
		}
		var e [64]Entry
		m, _ := tab.Copy(r, e[:1])
		if got := tab.AppendEngineData(nil, &e[0]); m != 1 || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: listed as %q", n, got)
		}
	}
	if tab.Len() != len(refs) {
		t.Errorf("%d entries, want %d: side records are none", tab.Len(), len(refs))
	}
	loser := engineTemplate(tab, 1, 0, []byte("other"))
	if winner, won := tab.Insert(1, loser); won || winner != refs[0] {
		t.Error("two templates under one key")
	}
	var e [1]Entry
	tab.Copy(refs[0], e[:])
	for _, r := range refs {
		tab.Remove(0, r)
	}
	if got := tab.AppendEngineData(nil, &e[0]); len(got) != 0 {
		t.Errorf("a template that is gone is listed with %q", got)
	}
	rounds(tab)
	if free := drain(tab); free != 64 {
		t.Errorf("%d of 64 records are free again", free)
	}
}

// drain counts the records that can be had.
func drain(tab *Table) (n int) {
	for w := range tab.Workers() {
		for tab.Alloc(w) != 0 {
			n++
		}
	}
	return n
}

// A template that finds no room for its data leaves nothing behind.
func TestEngineDataFull(t *testing.T) {
	_, tab := newEngineTable(t, 3)
	if r := engineTemplate(tab, 0, 1, bytes.Repeat([]byte("x"), 255)); r != 0 {
		t.Fatal("four records of three")
	}
	r := engineTemplate(tab, 0, 1, bytes.Repeat([]byte("x"), 240))
	if r == 0 {
		t.Fatal("records were lost")
	}
	tab.Free(0, r)
	if free := drain(tab); free != 3 {
		t.Errorf("%d of 3 records are free", free)
	}
}

// Open finds templates with their data, drops one whose data was damaged, and loses no record.
func TestEngineDataOutlives(t *testing.T) {
	mem, tab := newEngineTable(t, 32)
	long := []byte(strings.Repeat("0123456789", 25))
	var refs []Ref
	for i := range byte(4) {
		r := engineTemplate(tab, 0, i, append(slices.Clone(long), i))
		tab.Insert(0, r)
		refs = append(refs, r)
	}
	words(tab.Conn(Ref(tab.Conn(refs[1]).Extra)))[0] = uint64(refs[2]) | 251<<32 // leads into another template
	words(tab.Conn(Ref(tab.Conn(refs[3]).Extra)))[0] = 7 << 32                   // too short for how it goes on: sound
	engineTemplate(tab, 0, 9, long)                                              // the process ended before it inserted it
	again, err := Open(mem, 2)
	if err != nil {
		t.Fatal(err)
	}
	if again.Len() != 3 || !again.EngineDataIs(refs[0], append(slices.Clone(long), 0)) || !again.EngineDataIs(refs[2], append(slices.Clone(long), 2)) {
		t.Errorf("%d templates left, or with other data", again.Len())
	}
	checkTable(t, again)
	again.BeginRound(0)
	for _, r := range refs {
		again.Remove(0, r)
	}
	rounds(again)
	if free := drain(again); free != 32 {
		t.Errorf("%d of 32 records are free", free)
	}
}

// Workers fight over templates with data while somebody lists them: whoever finds one finds its whole data, and nothing
// is lost. Client n's data is of a length and a letter that n says.
func TestEngineDataStress(t *testing.T) {
	const workers, clients = 3, 8
	mem := AlignedBytes(Size(600))
	tab, err := New(mem, Config{Capacity: 600, Seed: [2]uint64{3, 4}, Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	data := make([][]byte, clients)
	for i := range data {
		data[i] = bytes.Repeat([]byte{byte('a' + i)}, 1+36*i)
	}
	var wg, listing sync.WaitGroup
	var stop atomic.Bool
	listing.Go(func() {
		var e [32]Entry
		for !stop.Load() {
			for n, from := 0, Ref(1); from != 0; {
				n, from = tab.Copy(from, e[:])
				for i := range e[:n] {
					client := e[i].Conn.Client.V4() & 0xff
					if got := tab.AppendEngineData(nil, &e[i]); len(got) > 0 && !bytes.Equal(got, data[client]) {
						t.Errorf("client %d is listed with %q", client, got)
					}
				}
			}
		}
	})
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 5))
			for range 2000 {
				tab.BeginRound(w)
				for range 4 {
					n := rng.IntN(clients)
					k := Key{Src: packet.AddrFrom4([]byte{10, 0, 0, byte(n)}), SrcPort: 1, DstPort: 5060, Proto: 17, Family: 4}
					r := tab.LookupTemplate(&k)
					if r == 0 {
						if r = engineTemplate(tab, w, byte(n), data[n]); r == 0 {
							continue
						}
						if r, _ = tab.Insert(w, r); r == 0 {
							continue
						}
					}
					if !tab.EngineDataIs(r, data[n]) {
						t.Errorf("client %d's template has other data", n)
					}
					if rng.IntN(3) == 0 {
						tab.Remove(w, r)
					}
				}
			}
			tab.GoIdle(w)
		})
	}
	wg.Wait()
	stop.Store(true)
	listing.Wait()
	checkTable(t, tab)
}

// Making, finding and removing a template with data allocates nothing.
func TestEngineDataAllocatesNothing(t *testing.T) {
	_, tab := newEngineTable(t, 64)
	data := bytes.Repeat([]byte("x"), 200)
	n := testing.AllocsPerRun(100, func() {
		rounds(tab)
		r := engineTemplate(tab, 0, 1, data)
		tab.Insert(0, r)
		_ = tab.HashEngineData(data)
		if !tab.EngineDataIs(r, data) || !tab.Remove(0, r) {
			t.Error("not found")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
