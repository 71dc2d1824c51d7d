package flow

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// twin is the slow table: Go maps and a list.
type twin struct {
	in, template map[Key]Ref
	out          map[Key][]Ref // the latest last
	conns        map[Ref]Conn
}

func newTwin() *twin {
	return &twin{map[Key]Ref{}, map[Key]Ref{}, map[Key][]Ref{}, map[Ref]Conn{}}
}

func (w *twin) add(r Ref, c Conn) {
	w.conns[r] = c
	switch {
	case c.IsTemplate():
		w.template[c.InKey()] = r
	case c.Method() == methodNAT:
		w.out[c.OutKey()] = append(w.out[c.OutKey()], r)
		fallthrough
	default:
		w.in[c.InKey()] = r
	}
}

func (w *twin) remove(r Ref) {
	c := w.conns[r]
	delete(w.conns, r)
	if c.IsTemplate() {
		if w.template[c.InKey()] == r {
			delete(w.template, c.InKey())
		}
		return
	}
	if w.in[c.InKey()] == r {
		delete(w.in, c.InKey())
	}
	if c.Method() == methodNAT {
		k := c.OutKey()
		w.out[k] = slices.DeleteFunc(w.out[k], func(x Ref) bool { return x == r })
	}
}

func (w *twin) lookup(k Key) (Ref, Dir) {
	if r := w.in[k]; r != 0 {
		return r, In
	}
	if l := w.out[k]; len(l) > 0 {
		return l[len(l)-1], Out
	}
	return 0, In
}

// operate does what the bytes of script say to a table and its twin, four bytes an operation, and compares.
func operate(t *testing.T, tab *Table, script []byte) {
	w := newTwin()
	now := int64(0)
	expire := func(r Ref) int64 {
		c := tab.Conn(r)
		if c.Deadline > now {
			t.Fatalf("record %d expires at %d, is due at %d", r, now, c.Deadline)
		}
		if atomicLoad32(&c.NControl) > 0 {
			return now + KeepTimeout
		}
		tab.Detach(r)
		if !tab.Remove(0, r) {
			t.Fatalf("expired record %d could not be removed", r)
		}
		w.remove(r)
		return 0
	}
	for ; len(script) >= 4; script = script[4:] {
		op, a := script[0], binary.LittleEndian.Uint16(script[1:])
		n := uint32(a) & 0xff
		k := tcpKey(n)
		switch op % 8 {
		case 0, 1: // a connection; few servers and ports, so that server sides collide
			r := tab.Alloc(0)
			if r == 0 {
				if len(w.conns) < int(tab.Capacity())-int(tab.batch)*2 && !inLimbo(tab) {
					t.Fatalf("full with %d of %d", len(w.conns), tab.Capacity())
				}
				continue
			}
			c := tab.Conn(r)
			c.Client, c.CPort, c.Virtual, c.VPort, c.Proto = k.Src, k.SrcPort, k.Dst, k.DstPort, k.Proto
			c.Virtual = v4(192, 0, 2, byte(a>>8)&3)
			c.Dest, c.DPort = v4(10, 255, 0, byte(a>>10)&1), 8080
			c.Flags = uint32(op>>4) & 3
			if op>>6 == 3 {
				c.Flags |= FlagTemplate
			}
			c.Deadline = now + int64(script[3])*1e8
			want := w.in[c.InKey()]
			if c.IsTemplate() {
				want = w.template[c.InKey()]
			}
			got, won := tab.Insert(0, r)
			if won != (want == 0) || !won && got != want {
				t.Fatalf("insert of %v: %d %v, twin has %d", c.InKey(), got, won, want)
			}
			if won {
				w.add(r, *c)
			}
		case 2:
			for r := range w.conns {
				if uint32(r)&7 == n&7 && tab.Conn(r).NControl == 0 {
					tab.Detach(r)
					if !tab.Remove(0, r) {
						t.Fatalf("remove of %d failed", r)
					}
					w.remove(r)
					break
				}
			}
		case 3:
			now += int64(script[3]) * 1e7
			for range 2*int(tab.Capacity())/64 + 2 {
				tab.Sweep(0, now, 64, expire)
			}
			for r, c := range w.conns {
				if d := tab.Conn(r).Deadline; d <= now {
					t.Fatalf("record %d (%v) is due at %d and not expired at %d", r, c.InKey(), d, now)
				}
			}
		case 4:
			tab.BeginRound(0)
		case 5: // touch and shorten
			if r, _ := tab.Lookup(&k); r != 0 {
				d := now + int64(script[3])*1e8
				if d > tab.Conn(r).Deadline {
					tab.Touch(tab.Conn(r), d)
				} else {
					tab.Shorten(r, d)
				}
			}
		case 6: // rekey
			k.Dst = v4(192, 0, 2, byte(a>>8)&3)
			r := w.in[k]
			if r == 0 {
				continue
			}
			c := w.conns[r]
			c.CPort = uint16(script[3])
			want := w.in[c.InKey()]
			got, ok := tab.Rekey(0, r, func(x *Conn) { x.CPort = c.CPort })
			if ok != (want == 0 || want == r) || !ok && got != want {
				t.Fatalf("rekey of %d to port %d: %d %v, twin has %d", r, c.CPort, got, ok, want)
			}
			if ok && want != r {
				w.remove(r)
				w.add(r, c)
			}
		case 7: // hang on
			x, _ := tab.Lookup(&k)
			if y := tab.LookupTemplate(&k); x != 0 && y != 0 && tab.Conn(x).Control == 0 {
				if !tab.Attach(x, y) {
					t.Fatalf("could not attach %d to %d", x, y)
				}
			}
		}
		compare(t, tab, w, n)
	}
	checkTable(t, tab)
}

func inLimbo(tab *Table) bool {
	l := &tab.local[0]
	return l.limbo[0].head|l.limbo[1].head|l.limbo[2].head != 0
}

func compare(t *testing.T, tab *Table, w *twin, n uint32) {
	t.Helper()
	if tab.Len() != len(w.conns) {
		t.Fatalf("len %d, twin has %d", tab.Len(), len(w.conns))
	}
	var p [8]Probe
	for i := range p {
		p[i].Key = tcpKey(n)
		p[i].Key.Dst = v4(192, 0, 2, byte(i&3))
		if i > 3 {
			p[i].Key = Key{Src: v4(10, 255, 0, byte(i&1)), Dst: p[0].Key.Src, SrcPort: 8080, DstPort: p[0].Key.SrcPort, Proto: 6, Family: 4}
		}
	}
	tab.LookupBatch(p[:], nil)
	for i := range p {
		r, d := w.lookup(p[i].Key)
		if p[i].Ref != r || r != 0 && p[i].Dir != d {
			t.Fatalf("%v: found %d as %d, twin %d as %d", p[i].Key, p[i].Ref, p[i].Dir, r, d)
		}
		if got := tab.LookupTemplate(&p[i].Key); got != w.template[p[i].Key] {
			t.Fatalf("template %v: found %d, twin %d", p[i].Key, got, w.template[p[i].Key])
		}
	}
}

func randomScript(seed uint64, ops int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, ops*4)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestAgainstTwin(t *testing.T) {
	for seed := range uint64(20) {
		operate(t, newTable(t, []uint32{7, 64, 200, 1000}[seed%4], 1), randomScript(seed, 3000))
	}
}

// The same in an index so small that most words lie outside their home bucket, and that it gets full.
func TestAgainstTwinCrowded(t *testing.T) {
	for seed := range uint64(20) {
		tab := newTable(t, 15, 1)
		tab.index, tab.buckets, tab.pairs, tab.probes = tab.index[:4], 4, 2, 4
		operate(t, tab, randomScript(100+seed, 3000))
	}
}

func FuzzAgainstTwin(f *testing.F) {
	f.Add(randomScript(1, 100))
	f.Fuzz(func(t *testing.T, script []byte) {
		operate(t, newTable(t, 50, 1), script[:min(len(script), 4000)])
	})
}
