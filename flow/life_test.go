package flow

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// A template is found in its own space alone; invalidated it is found no more, still listed, and another may take its
// place (spec/connections.md 5.3).
func TestTemplates(t *testing.T) {
	tab := newTable(t, 100, 1)
	template := func() Ref {
		r := tab.Alloc(0)
		c := tab.Conn(r)
		c.Client, c.Virtual, c.VPort, c.Proto, c.Flags, c.Deadline = v4(10, 0, 0, 0), v4(192, 0, 2, 1), 80, 6, FlagTemplate|3, 1e9
		x, _ := tab.Insert(0, r)
		return x
	}
	a := template()
	k := tab.Conn(a).InKey()
	if r, _ := tab.Lookup(&k); r != 0 || tab.LookupTemplate(&k) != a || template() != a {
		t.Fatal("the template is not found as what it is")
	}
	for range 3 {
		a = tab.LookupTemplate(&k)
		if r, ok := tab.Rekey(0, a, func(c *Conn) { c.VPort, c.DPort, c.CPort = 0xffff, 0xffff, 0 }); r != a || !ok {
			t.Fatalf("could not invalidate: %d %v", r, ok)
		}
		if r := tab.LookupTemplate(&k); r != 0 {
			t.Fatalf("invalidated template is still found: %d", r)
		}
		template()
	}
	n := 0
	tab.Walk(func(Ref, *Conn) bool { n++; return true })
	if n != 4 || tab.Len() != 4 {
		t.Errorf("%d templates are listed, len %d, want 4", n, tab.Len())
	}
	checkTable(t, tab)
}

// A controller cannot be removed while others hang on it, nor be hung on once it is removed.
func TestControllers(t *testing.T) {
	tab := newTable(t, 100, 1)
	parent, _ := addConn(tab, 0, 1, 3, 1)
	a, _ := addConn(tab, 0, 2, 3, 1)
	b, _ := addConn(tab, 0, 3, 3, 1)
	if !tab.Attach(a, parent) || !tab.Attach(b, parent) || tab.Remove(0, parent) {
		t.Fatal("removed a controller of two")
	}
	if p, left := tab.Detach(a); p != parent || left != 1 || tab.Remove(0, parent) {
		t.Fatalf("detached from %d, %d left", p, left)
	}
	if p, left := tab.Detach(b); p != parent || left != 0 || !tab.Remove(0, parent) {
		t.Fatalf("detached from %d, %d left", p, left)
	}
	if tab.Attach(a, parent) {
		t.Error("attached to a removed controller")
	}
	if p, _ := tab.Detach(a); p != 0 {
		t.Errorf("detached from %d", p)
	}
}

// The client port of FTP data is filled in when it is known.
func TestNoCPort(t *testing.T) {
	tab := newTable(t, 100, 1)
	k := tcpKey(7)
	r := tab.Alloc(0)
	c := tab.Conn(r)
	c.Client, c.Virtual, c.VPort, c.Proto, c.Flags, c.Deadline = k.Src, k.Dst, k.DstPort, k.Proto, FlagNoCPort, 1e9
	c.Dest, c.DPort = v4(10, 255, 0, 0), 8080
	if tab.HasNoCPort() {
		t.Error("a port is missing before there is a connection")
	}
	tab.Insert(0, r)
	zero := k
	zero.SrcPort = 0
	if x, _ := tab.Lookup(&zero); x != r || !tab.HasNoCPort() {
		t.Fatalf("found %d by port 0", x)
	}
	if _, ok := tab.Rekey(0, r, func(c *Conn) { c.CPort = k.SrcPort; c.Flags &^= FlagNoCPort }); !ok {
		t.Fatal("not re-keyed")
	}
	out := outKey(7)
	if x, d := tab.Lookup(&out); x != r || d != Out {
		t.Errorf("found %d by the reply", x)
	}
	if x, _ := tab.Lookup(&k); x != r || tab.HasNoCPort() || tab.Conn(r).LoadFlags()&FlagNoCPort != 0 {
		t.Errorf("found %d by the port filled in", x)
	}
	if x, _ := tab.Lookup(&zero); x != 0 {
		t.Errorf("still found by port 0: %d", x)
	}
	checkTable(t, tab)
}

// The reply of a method that is not NAT is found by the reversed tuple; NAT's is not.
func TestLookupReply(t *testing.T) {
	tab := newTable(t, 100, 1)
	for n := range uint32(2) {
		r, _ := addConn(tab, 0, n, n*3, 1)
		k := tcpKey(n)
		k.Src, k.Dst, k.SrcPort, k.DstPort = k.Dst, k.Src, k.DstPort, k.SrcPort
		if x := tab.LookupReply(&k); n == 1 && x != r || n == 0 && x != 0 {
			t.Errorf("method %d: reply finds %d", n*3, x)
		}
	}
}

// What an idle worker removed is not lost: those that work adopt it.
func TestOrphans(t *testing.T) {
	tab := newTable(t, 100, 2)
	control := tab.ControlWorker()
	for round := range uint32(20) {
		var refs []Ref
		for n := range uint32(90) {
			r, won := addConn(tab, 0, round*1000+n, 3, 1)
			if !won {
				t.Fatalf("round %d: full with %d", round, tab.Len())
			}
			refs = append(refs, r)
		}
		tab.BeginRound(control)
		for _, r := range refs {
			if !tab.Remove(control, r) {
				t.Fatal("not removed")
			}
		}
		tab.GoIdle(control)
		for range 5 {
			tab.BeginRound(0)
			tab.BeginRound(1)
		}
	}
	checkTable(t, tab)
}

// Copies of the memory, made word by word while workers change it, are worse than anything a crash leaves. Open makes a
// sound table of each.
func TestOpenOfSmearedCopies(t *testing.T) {
	if raceDetector {
		t.Log("the copies race with the workers by design; that is for builds without the detector")
		return
	}
	const workers, capacity = 2, 3000
	mem := AlignedBytes(Size(capacity))
	tab, err := New(mem, Config{Capacity: capacity, Seed: testSeed, Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint32(100) {
		addConn(tab, 0, n, n%2*3, 1e9)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 8))
			for !stop.Load() {
				tab.BeginRound(w)
				for range 16 {
					n := 100 + rng.Uint32N(1500)
					k := tcpKey(n)
					if r, _ := tab.Lookup(&k); r == 0 {
						addConn(tab, w, n, n%2*3, 1e9)
					} else if !tab.Remove(w, r) || rng.Uint32N(4) == 0 {
						tab.GoIdle(w)
						tab.BeginRound(w)
					}
				}
			}
			tab.GoIdle(w)
		})
	}
	for range 150 {
		smear := AlignedBytes(Size(capacity))
		copy(smear, mem)
		opened, err := Open(smear, 1)
		if err != nil {
			t.Fatal(err)
		}
		checkTable(t, opened)
		for n := range uint32(100) {
			k := tcpKey(n)
			if r, _ := opened.Lookup(&k); r == 0 {
				t.Fatalf("connection %d, which nobody touched, is lost", n)
			}
		}
		// And again after a death in the middle of Open: the index half cleared is no worse.
		again, err := Open(smear, 1)
		if err != nil || again.Len() != opened.Len() {
			t.Fatalf("opened again: %d connections, %v; were %d", again.Len(), err, opened.Len())
		}
	}
	stop.Store(true)
	wg.Wait()
}
