package flow

import (
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/fastlb/fastlb/packet"
)

var testSeed = [2]uint64{0x0123456789abcdef, 0xfedcba9876543210}

func newTable(t testing.TB, capacity uint32, workers int) *Table {
	t.Helper()
	tab, err := New(AlignedBytes(Size(capacity)), Config{Capacity: capacity, Seed: testSeed, Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	for w := range workers {
		tab.BeginRound(w)
	}
	return tab
}

func v4(a, b, c, d byte) packet.Addr { return packet.AddrFrom4([]byte{a, b, c, d}) }

// client is the n-th client's address and port; distinct for n < 2^32.
func client(n uint32) (packet.Addr, uint16) {
	return v4(10, byte(n>>28), byte(n>>22)&63, byte(n>>16)&63), uint16(n)
}

func tcpKey(n uint32) Key {
	a, p := client(n)
	return Key{Src: a, Dst: v4(192, 0, 2, 1), SrcPort: p, DstPort: 80, Proto: protoTCP, Family: 4}
}

// addConn inserts connection n of a method, due at deadline.
func addConn(t *Table, worker int, n uint32, method uint32, deadline int64) (Ref, bool) {
	return putConn(t, worker, n, method, deadline, (*Table).Insert)
}

// putConn is addConn by Insert or InsertDeferred.
func putConn(t *Table, worker int, n, method uint32, deadline int64, insert func(*Table, int, Ref) (Ref, bool)) (Ref, bool) {
	r := t.Alloc(worker)
	if r == 0 {
		return 0, false
	}
	c := t.Conn(r)
	k := tcpKey(n)
	c.Client, c.CPort, c.Virtual, c.VPort, c.Proto = k.Src, k.SrcPort, k.Dst, k.DstPort, k.Proto
	c.Dest, c.DPort, c.Server = v4(10, 255, 0, byte(n%7)), 8080, 1+n%7
	c.Flags = method
	c.Deadline = deadline
	return insert(t, worker, r)
}

func outKey(n uint32) Key {
	k := tcpKey(n)
	return Key{Src: v4(10, 255, 0, byte(n%7)), Dst: k.Src, SrcPort: 8080, DstPort: k.SrcPort, Proto: k.Proto, Family: 4}
}

func TestLookupBothHalves(t *testing.T) {
	tab := newTable(t, 1000, 1)
	refs := map[uint32]Ref{}
	for n := range uint32(1000) {
		r, won := addConn(tab, 0, n, uint32(n%2)*3, 1e9) // even: NAT, odd: DR
		if !won {
			t.Fatalf("connection %d was refused at %d of 1000", n, tab.Len())
		}
		refs[n] = r
	}
	if _, won := addConn(tab, 0, 1000, 3, 1e9); won || tab.Len() != 1000 {
		t.Fatalf("a table of 1000 took another: len %d", tab.Len())
	}
	var batch [64]Probe
	for n := uint32(0); n < 1000; n += 32 {
		for i := range batch {
			m := n + uint32(i/2)
			if i%2 == 0 {
				batch[i].Key = tcpKey(m)
			} else {
				batch[i].Key = outKey(m)
			}
		}
		tab.LookupBatch(batch[:], nil)
		for i := range batch {
			m := n + uint32(i/2)
			want, dir := refs[m], Dir(i%2)
			if dir == Out && m%2 == 1 {
				want, dir = 0, In
			}
			if batch[i].Ref != want || want != 0 && batch[i].Dir != dir {
				t.Fatalf("connection %d, half %d: found %d as %d, want %d as %d", m, i%2, batch[i].Ref, batch[i].Dir, want, dir)
			}
			if r, d := tab.Lookup(&batch[i].Key); r != batch[i].Ref || d != batch[i].Dir {
				t.Fatalf("Lookup found %d as %d, LookupBatch %d as %d", r, d, batch[i].Ref, batch[i].Dir)
			}
		}
	}
	for n, r := range refs {
		if !tab.Remove(0, r) {
			t.Fatalf("connection %d could not be removed", n)
		}
		if tab.Remove(0, r) {
			t.Fatalf("connection %d was removed twice", n)
		}
	}
	checkEmpty(t, tab)
}

// TestLookupByServer finds replies by their servers' numbers as it does by the records, whatever of the servers is known.
func TestLookupByServer(t *testing.T) {
	tab := newTable(t, 1000, 1)
	for n := range uint32(1000) {
		r, _ := addConn(tab, 0, n, 0, 1e9)
		if n%5 == 0 { // a helper sent it to another server than its number says
			c := tab.Conn(r)
			c.Server = 1 + (n+1)%7
			c.CASFlags(c.LoadFlags(), c.LoadFlags()|FlagElsewhere)
		}
	}
	all := make([]packet.Addr, 8)
	for i := range byte(7) {
		all[1+i] = v4(10, 255, 0, i)
	}
	for name, servers := range map[string][]packet.Addr{"all": all, "a few": all[:4], "none": nil, "gone": make([]packet.Addr, 8)} {
		for n := range uint32(1000) {
			p := [3]Probe{{Key: outKey(n)}, {Key: outKey(n)}, {Key: tcpKey(n)}}
			p[1].Key.Src = all[1+(n+1)%7] // not its server, though the number may say so
			tab.LookupBatch(p[:], servers)
			if p[0].Ref == 0 || p[0].Dir != Out || p[0].Ref != p[2].Ref || p[1].Ref != 0 || p[2].Dir != In {
				t.Fatalf("servers known: %s; connection %d: reply %d, foreign reply %d, request %d", name, n, p[0].Ref, p[1].Ref, p[2].Ref)
			}
		}
	}
}

func checkEmpty(t *testing.T, tab *Table) {
	t.Helper()
	if tab.Len() != 0 {
		t.Errorf("len %d after all were removed", tab.Len())
	}
	for b := range tab.index {
		if tab.index[b] != (bucket{}) {
			t.Fatalf("bucket %d is not empty: %x", b, tab.index[b])
		}
	}
}

// After removal and a grace period the whole capacity is there again, many times over.
func TestReuse(t *testing.T) {
	tab := newTable(t, 100, 1)
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		for n := range uint32(100) {
			if _, won := addConn(tab, 0, uint32(round)*1000+n, rng.Uint32N(2)*3, 1e9); !won {
				t.Fatalf("round %d: refused at %d of 100", round, tab.Len())
			}
		}
		tab.Walk(func(r Ref, c *Conn) bool { return tab.Remove(0, r) })
		checkEmpty(t, tab)
		for range 3 {
			tab.BeginRound(0)
		}
	}
}

func TestBytesPerConnection(t *testing.T) {
	for _, n := range []uint32{1_000_000, 10_000_000, 50_000_000} {
		if b := float64(Size(n)) / float64(n); b > 160 {
			t.Errorf("%d connections take %.3f bytes each, want at most 160", n, b)
		}
	}
}

// The assembly finds what the plain loop finds, in buckets of every filling.
func TestMatchTwin(t *testing.T) {
	if !hasVector {
		t.Log("no vector routine here: Match is its own twin")
	}
	tab := newTable(t, 3000, 1)
	rng := rand.New(rand.NewPCG(3, 1))
	for n := range uint32(3000) {
		addConn(tab, 0, n, rng.Uint32N(2)*3, 1e9)
	}
	var a, b [200]Probe
	for range 200 {
		n := rng.IntN(len(a) + 1)
		for i := range n {
			a[i].Key = tcpKey(rng.Uint32N(6000))
			if rng.IntN(3) == 0 {
				a[i].Key = outKey(rng.Uint32N(6000))
			}
		}
		tab.HashAll(a[:n])
		b = a
		tab.hashEach(b[:n])
		for i := range n {
			if a[i].Hash != b[i].Hash || a[i].addr != b[i].addr {
				t.Fatalf("probe %d of %d, %+v: the vector routine hashes to %x in bucket %x, the plain loop to %x in %x", i, n,
					a[i].Key, a[i].Hash, a[i].addr, b[i].Hash, b[i].addr)
			}
		}
		tab.Match(a[:n])
		tab.matchWords(b[:n])
		for i := range n {
			if a[i].Ref != b[i].Ref || a[i].Dir != b[i].Dir {
				t.Fatalf("probe %d of %d: the vector routine found %d as %d, the plain loop %d as %d", i, n,
					a[i].Ref, a[i].Dir, b[i].Ref, b[i].Dir)
			}
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	tab := newTable(t, 10000, 1)
	var p [64]Probe
	n := uint32(0)
	now := int64(1)
	expire := func(r Ref) int64 { tab.Remove(0, r); return 0 }
	if got := testing.AllocsPerRun(200, func() {
		tab.BeginRound(0)
		for i := range p {
			n++
			p[i].Key = tcpKey(n)
		}
		tab.LookupBatch(p[:], nil)
		for i := range p {
			if p[i].Ref == 0 {
				addConn(tab, 0, n-63+uint32(i), n%2*3, now+1e8)
			}
		}
		tab.LookupBatch(p[:], nil)
		tab.Touch(tab.Conn(p[0].Ref), now+2e8)
		tab.Sweep(0, now, 1000, expire)
		tab.Walk(func(r Ref, c *Conn) bool { return r < 100 })
		now += 1e8
	}); got != 0 {
		t.Errorf("%v allocations a round", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	mem := AlignedBytes(Size(100))
	if _, err := Open(mem, 1); !errors.Is(err, ErrNoTable) {
		t.Errorf("empty memory: %v", err)
	}
	if _, err := Open(mem[:100], 1); !errors.Is(err, ErrNoTable) {
		t.Errorf("little memory: %v", err)
	}
	if _, err := New(mem, Config{Capacity: 100, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(mem[:len(mem)-pageSize], 1); !errors.Is(err, ErrBadHeader) {
		t.Errorf("cut off: %v", err)
	}
	if _, err := Open(mem, 1); err != nil {
		t.Errorf("whole: %v", err)
	}
	mem[16]++ // the capacity
	if _, err := Open(mem, 1); !errors.Is(err, ErrBadHeader) {
		t.Errorf("damaged: %v", err)
	}
	if _, err := New(mem, Config{Capacity: 0, Workers: 1}); err == nil {
		t.Error("a table for nothing")
	}
	if _, err := New(mem, Config{Capacity: 200, Workers: 1}); err == nil {
		t.Error("a table larger than its memory")
	}
	if _, err := New(mem, Config{Capacity: 100}); err == nil {
		t.Error("a table without workers")
	}
}

// What workers write to each other's disturbance lies on lines of its own.
func TestLayoutOfSharedWords(t *testing.T) {
	if s := unsafe.Sizeof(Probe{}); s != 64 {
		t.Errorf("Probe has %d bytes, the assembly steps 64", s)
	}
	if h, r, d, a := unsafe.Offsetof(Probe{}.Hash), unsafe.Offsetof(Probe{}.Ref), unsafe.Offsetof(Probe{}.Dir), unsafe.Offsetof(Probe{}.addr); h != 40 || r != 48 || d != 52 || a != 56 {
		t.Errorf("Probe's fields are at %d, %d, %d, %d", h, r, d, a)
	}
	if s := unsafe.Offsetof(header{}.Checksum); s > pageSize {
		t.Errorf("the header is larger than its page")
	}
	var w workerState
	apart := func(name string, a, b uintptr) {
		if b-a < 64 {
			t.Errorf("%s: %d bytes apart", name, b-a)
		}
	}
	apart("a worker's epoch and the one before's state", 0, unsafe.Offsetof(w.seen))
	apart("a worker's epoch and its counts", unsafe.Offsetof(w.seen), unsafe.Offsetof(w.added))
	apart("a worker's state and the next one's", unsafe.Offsetof(w.hand), unsafe.Sizeof(w))
	var p pool
	apart("pool's stacks", unsafe.Offsetof(p.full), unsafe.Offsetof(p.spare))
	apart("pool's fresh", unsafe.Offsetof(p.spare), unsafe.Offsetof(p.fresh))
	apart("pool's constants", unsafe.Offsetof(p.fresh), unsafe.Offsetof(p.nodes))
	var tab Table
	apart("epoch", unsafe.Offsetof(tab.epoch), unsafe.Offsetof(tab.orphan))
	apart("orphans", unsafe.Offsetof(tab.orphan), unsafe.Offsetof(tab.local))
	if o := unsafe.Offsetof(Conn{}.CPort); o != 32 {
		t.Errorf("the ports word is at %d", o)
	}
}

// TestInsertDeferred: a connection is found by its client's packets at once, by its server's from the next deferred
// insertion or LinkPending on, and never once it was removed.
func TestInsertDeferred(t *testing.T) {
	tab := newTable(t, 1000, 1)
	add := func(n uint32) Ref {
		r := tab.Alloc(0)
		c, k := tab.Conn(r), tcpKey(n)
		c.Client, c.CPort, c.Virtual, c.VPort, c.Proto = k.Src, k.SrcPort, k.Dst, k.DstPort, k.Proto
		c.Dest, c.DPort, c.Deadline = v4(10, 255, 0, byte(n%7)), 8080, 1e9
		winner, won := tab.InsertDeferred(0, r)
		if !won || winner != r {
			t.Fatalf("connection %d was refused", n)
		}
		return r
	}
	found := func(n uint32) (in, out Ref) {
		k, o := tcpKey(n), outKey(n)
		in, _ = tab.Lookup(&k)
		out, _ = tab.Lookup(&o)
		return in, out
	}
	want := func(when string, n uint32, in, out Ref) {
		t.Helper()
		if i, o := found(n); i != in || o != out {
			t.Errorf("%s: connection %d found as %d and %d, want %d and %d", when, n, i, o, in, out)
		}
	}
	tab.BeginRound(0)
	a := add(0)
	want("inserted", 0, a, 0)
	b := add(1)
	want("another inserted", 0, a, a)
	want("another inserted", 1, b, 0)
	tab.LinkPending(0)
	want("linked", 1, b, b)
	tab.LinkPending(0)
	c := add(2)
	if !tab.Remove(0, c) {
		t.Error("it could not be removed")
	}
	tab.LinkPending(0)
	want("removed before it was linked", 2, 0, 0)
	for n, r := range []Ref{a, b} {
		tab.Remove(0, r)
		want("removed", uint32(n), 0, 0)
	}
	checkEmpty(t, tab)
}

// TestInsertDeferredWithoutRoom: a connection whose reply finds no room in the index goes at the next sweep, whatever the
// time is: the sweep array's words wrap, and the clock is the wall's.
func TestInsertDeferredWithoutRoom(t *testing.T) {
	const cycle = int64(1) << (31 + unitShift) // of the words
	for eighth := range int64(8) {
		now := 12*cycle + eighth*cycle/8
		tab := newTable(t, 16, 1)
		r := tab.Alloc(0)
		c, k := tab.Conn(r), tcpKey(0)
		c.Client, c.CPort, c.Virtual, c.VPort, c.Proto = k.Src, k.SrcPort, k.Dst, k.DstPort, k.Proto
		c.Dest, c.DPort, c.Created, c.Deadline = v4(10, 255, 0, 0), 8080, now, now+60e9
		if _, won := tab.InsertDeferred(0, r); !won {
			t.Fatal("it was refused")
		}
		for i := range tab.index { // every slot that is empty is taken by words of nobody
			for s := range tab.index[i] {
				if tab.index[i][s]&refMask == 0 {
					tab.index[i][s] |= wordTentative | tagMask | 1<<20
				}
			}
		}
		tab.LinkPending(0)
		gone := 0
		tab.Sweep(0, now+1, 1000, func(x Ref) int64 {
			if gone++; x != r {
				t.Errorf("%d expired, want %d", x, r)
			}
			tab.Remove(0, x)
			return 0
		})
		if gone != 1 {
			t.Errorf("at %d: %d connections expired, want the one without room", now, gone)
		}
	}
}

// TestFullOfNAT: a table takes as many NAT connections, two words each, as it has records.
func TestFullOfNAT(t *testing.T) {
	n := uint32(4_000_000)
	if testing.Short() {
		n = 100_000
	}
	tab := newTable(t, n, 1)
	for i := range n {
		if _, won := addConn(tab, 0, i, 0, 1e18); !won {
			t.Fatalf("connection %d of %d was refused", i, n)
		}
	}
	var b [8]Probe
	for i := uint32(0); i < n; i += 1009 {
		b[0].Key, b[1].Key = tcpKey(i), outKey(i)
		tab.LookupBatch(b[:2], nil)
		if b[0].Ref == 0 || b[0].Ref != b[1].Ref || b[0].Dir != In || b[1].Dir != Out {
			t.Fatalf("connection %d is found as %d and %d", i, b[0].Ref, b[1].Ref)
		}
	}
}
