package flow

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Workers fight over few keys on heap memory, where the race detector sees. Every worker believes what it found for the
// rest of its round: a record that it holds keeps its key.
func TestStress(t *testing.T) {
	const workers, keys = 4, 24
	rounds := 3000
	if testing.Short() {
		rounds = 500
	}
	tab := newTable(t, 20000, workers)
	var wins, losses, full atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 3))
			var p [16]Probe
			for round := range rounds {
				tab.BeginRound(w)
				for i := range p {
					p[i].Key = tcpKey(rng.Uint32N(keys))
					if i%4 == 3 {
						p[i].Key = outKey(rng.Uint32N(keys))
					}
				}
				tab.LookupBatch(p[:], nil)
				for i := range p {
					q := &p[i]
					if q.Ref == 0 && i%4 != 3 {
						n := uint32(q.Key.SrcPort)
						insert := (*Table).Insert
						if n%4 == 2 {
							insert = (*Table).InsertDeferred
						}
						r, won := putConn(tab, w, n, n%2*3, int64(round+1), insert)
						if won {
							wins.Add(1)
						} else if r != 0 {
							losses.Add(1)
						} else {
							full.Add(1)
							continue
						}
						q.Ref, q.Dir = r, In
					}
					if q.Ref != 0 && rng.Uint32N(4) == 0 {
						tab.Remove(w, q.Ref)
					} else if q.Ref != 0 && rng.Uint32N(8) == 0 && tab.Conn(q.Ref).InKey().SrcPort%4 != 2 {
						tab.Rekey(w, q.Ref, func(c *Conn) { c.DPort ^= 1 })
					} else if q.Ref != 0 {
						tab.Touch(tab.Conn(q.Ref), int64(round+2))
					}
				}
				for i := range p {
					q := &p[i]
					if q.Ref == 0 {
						continue
					}
					c := tab.Conn(q.Ref)
					other := q.Key
					other.SrcPort ^= 1 // re-keyed
					if q.Dir == In && c.InKey() != q.Key || q.Dir == Out && c.OutKey() != q.Key && c.OutKey() != other {
						t.Errorf("worker %d holds record %d of %v, and it became %v", w, q.Ref, q.Key, c.InKey())
						return
					}
				}
				tab.Sweep(w, int64(round)-3, 100, func(r Ref) int64 {
					tab.Remove(w, r)
					return 0
				})
				tab.LinkPending(w)
				if rng.Uint32N(50) == 0 {
					tab.GoIdle(w)
				}
			}
			tab.GoIdle(w)
		})
	}
	stop := make(chan struct{})
	var lister sync.WaitGroup
	lister.Go(func() {
		buf := make([]Entry, 64)
		for {
			select {
			case <-stop:
				return
			default:
			}
			tab.Walk(func(r Ref, c *Conn) bool { k := c.InKey(); return k == tcpKey(uint32(k.SrcPort)) })
			for from := Ref(1); from != 0; {
				var n int
				n, from = tab.Copy(from, buf)
				for i := range n {
					if c := &buf[i].Conn; c.InKey() != tcpKey(uint32(c.CPort)) {
						t.Errorf("copied %v", c.InKey())
					}
				}
			}
		}
	})
	wg.Wait()
	close(stop)
	lister.Wait()
	t.Logf("%d won, %d lost, %d full, %d left", wins.Load(), losses.Load(), full.Load(), tab.Len())
	checkUnique(t, tab)
	checkTable(t, tab)
}

// checkUnique demands that no two records have the same client side.
func checkUnique(t *testing.T, tab *Table) {
	t.Helper()
	seen := map[Key]Ref{}
	tab.Walk(func(r Ref, c *Conn) bool {
		if other := seen[c.InKey()]; other != 0 {
			t.Errorf("records %d and %d have the same key %v", other, r, c.InKey())
		}
		seen[c.InKey()] = r
		return true
	})
}

// Of workers that insert the same key at the same time one alone wins, and all the others are told who.
func TestOneWinner(t *testing.T) {
	const workers = 4
	rounds := 2000
	if testing.Short() {
		rounds = 400
	}
	tab := newTable(t, 64*workers, workers)
	var start, done sync.WaitGroup
	for round := range rounds {
		var got [workers]Ref
		var won [workers]bool
		var begin atomic.Int32
		start.Add(workers)
		done.Add(workers)
		for w := range workers {
			go func() {
				tab.BeginRound(w)
				start.Done()
				for begin.Add(1); begin.Load() < workers; {
					runtime.Gosched()
				}
				got[w], won[w] = addConn(tab, w, uint32(round), 3, 1)
				done.Done()
			}()
		}
		done.Wait()
		n := 0
		for w := range workers {
			if won[w] {
				n++
			}
			if got[w] != got[0] || got[w] == 0 {
				t.Fatalf("round %d: workers were told %v", round, got)
			}
		}
		if n != 1 {
			t.Fatalf("round %d: %d winners", round, n)
		}
		k := tcpKey(uint32(round))
		if r, _ := tab.Lookup(&k); r != got[0] {
			t.Fatalf("round %d: look-up finds %d, winner was %d", round, r, got[0])
		}
		for w := range workers {
			tab.BeginRound(w)
		}
		tab.Remove(0, got[0])
	}
	checkEmpty(t, tab)
	checkTable(t, tab)
}

// A record that a worker found stays as it is until that worker begins another round, however hard others work.
func TestHeldRecordIsNotReused(t *testing.T) {
	tab := newTable(t, 8, 2)
	r, _ := addConn(tab, 0, 1, 3, 1)
	tab.BeginRound(1)
	k := tcpKey(1)
	held, _ := tab.Lookup(&k) // worker 1 holds it
	if held != r || !tab.Remove(0, r) {
		t.Fatal("no connection to begin with")
	}
	for n := range uint32(1000) {
		tab.BeginRound(0)
		if x, won := addConn(tab, 0, 100+n, 3, 1); won {
			if x == held {
				t.Fatalf("record %d was reused after %d rounds while worker 1 held it", x, n)
			}
			tab.Remove(0, x)
		}
	}
	tab.BeginRound(1)
	reused := false
	for n := range uint32(100) {
		tab.BeginRound(0)
		tab.BeginRound(1)
		if x, won := addConn(tab, 0, 5000+n, 3, 1); won {
			reused = reused || x == held
			tab.Remove(0, x)
		}
	}
	if !reused {
		t.Error("the record was never reused")
	}
	// An idle worker holds nobody up.
	tab.GoIdle(1)
	for n := range uint32(100) {
		for range 3 {
			tab.BeginRound(0)
		}
		x, won := addConn(tab, 0, 9000+n, 3, 1)
		if !won {
			t.Fatalf("full after %d connections beside an idle worker", n)
		}
		tab.Remove(0, x)
	}
}
