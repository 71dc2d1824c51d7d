package flow

import (
	"math/rand/v2"
	"testing"

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
	r := t.Alloc(worker)
	if r == 0 {
		return 0, false
	}
	c := t.Conn(r)
	k := tcpKey(n)
	c.Client, c.CPort, c.Virtual, c.VPort, c.Proto = k.Src, k.SrcPort, k.Dst, k.DstPort, k.Proto
	c.Dest, c.DPort = v4(10, 255, 0, byte(n%7)), 8080
	c.Flags = method
	c.Deadline = deadline
	return t.Insert(worker, r)
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
		tab.LookupBatch(batch[:])
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
		if b := float64(Size(n)-3*pageSize) / float64(n); b > 160 {
			t.Errorf("%d connections take %.3f bytes each, want at most 160", n, b)
		}
	}
}
