package ring

import (
	"runtime"
	"sync"
	"testing"
	"unsafe"
)

// pair is a ring of n slots on plain memory seen from both sides, indexes at start.
func pair(n int, start uint32) (*producer[uint64], *consumer[uint64], *memoryRing[uint64]) {
	m := newMemoryRing[uint64](n, start)
	p := newProducer(&m.producer, &m.consumer, &m.flags, m.slots)
	c := newConsumer(&m.consumer, &m.producer, m.slots)
	return &p, &c, m
}

func TestRingEmptyAndFull(t *testing.T) {
	for _, start := range []uint32{0, 5, 1<<32 - 2} { // the last one wraps the indexes
		p, c, _ := pair(4, start)
		if n := c.ready(9); n != 0 {
			t.Fatalf("start %d: empty ring has %d entries", start, n)
		}
		if n := p.room(9); n != 4 {
			t.Fatalf("start %d: empty ring has room for %d of 4", start, n)
		}
		p.put([]uint64{1, 2, 3, 4})
		if n := c.ready(9); n != 0 {
			t.Fatalf("start %d: entries are visible before publish", start)
		}
		p.publish(4)
		if n := p.room(1); n != 0 {
			t.Fatalf("start %d: full ring has room for %d", start, n)
		}
		if n := c.ready(3); n != 3 {
			t.Fatalf("start %d: ready(3) = %d", start, n)
		}
		got := make([]uint64, 3)
		c.take(got)
		c.release(3)
		if got[0] != 1 || got[1] != 2 || got[2] != 3 {
			t.Fatalf("start %d: took %v", start, got)
		}
		if n := p.room(9); n != 3 {
			t.Fatalf("start %d: room %d after three were released", start, n)
		}
		p.put([]uint64{5, 6, 7}) // goes around the end of the slots
		p.publish(3)
		got = make([]uint64, 4)
		if n := c.ready(9); n != 4 {
			t.Fatalf("start %d: ready %d of 4", start, n)
		}
		c.take(got)
		for i, v := range got {
			if v != uint64(i+4) || *c.slot(uint32(i)) != v {
				t.Fatalf("start %d: entry %d is %d", start, i, v)
			}
		}
	}
}

// The other side's index is read only when the cached one does not suffice.
func TestRingStaleCache(t *testing.T) {
	p, c, m := pair(8, 0)
	p.publish(p.room(6)) // room reads the consumer index: 0, so the cache says 8
	if n := c.ready(2); n != 2 {
		t.Fatal(n)
	}
	// The producer adds two more; the consumer still knows of six and must not look for a request that six can serve.
	p.publish(p.room(2))
	c.release(2)
	m.producer.Store(99) // would be seen as impossible if it were read
	if n := c.ready(4); n != 4 || c.bad {
		t.Fatalf("ready(4) = %d, bad %v: the shared index was read without need", n, c.bad)
	}
	m.producer.Store(8)
	c.release(4)
	if n := c.ready(8); n != 2 {
		t.Fatalf("ready(8) = %d, want the 2 that the stale cache did not know", n)
	}
	// The producer's cache says full; six were released meanwhile.
	if n := p.room(8); n != 6 {
		t.Fatalf("room(8) = %d, want 6", n)
	}
}

// An index of the other side that cannot be right must not make us read or write foreign slots.
func TestRingImpossibleIndex(t *testing.T) {
	p, c, m := pair(8, 100)
	m.producer.Store(100 + 9) // one more than there are slots
	if n := c.ready(8); n != 0 || !c.bad {
		t.Errorf("consumer: ready %d, bad %v", n, c.bad)
	}
	m.producer.Store(99) // backwards
	if n := c.ready(8); n != 0 || !c.bad {
		t.Errorf("consumer: ready %d, bad %v", n, c.bad)
	}
	m.producer.Store(102)
	if n := c.ready(8); n != 2 || c.bad {
		t.Errorf("consumer recovered: ready %d, bad %v", n, c.bad)
	}
	p.limit = p.head
	m.consumer.Store(101) // consumed what was never produced
	if n := p.room(8); n != 0 || !p.bad {
		t.Errorf("producer: room %d, bad %v", n, p.bad)
	}
	m.consumer.Store(100)
	if n := p.room(8); n != 8 || p.bad {
		t.Errorf("producer recovered: room %d, bad %v", n, p.bad)
	}
}

// Two goroutines on heap memory, so that -race sees a missing ordering; indexes wrap on the way.
func TestRingConcurrent(t *testing.T) {
	const total = 50_000
	p, c, _ := pair(64, 1<<32-1000)
	var wg sync.WaitGroup
	wg.Go(func() {
		for next := uint64(0); next < total; {
			n := p.room(17)
			for i := range n {
				*p.slot(i) = next + uint64(i)
			}
			p.publish(n)
			if next += uint64(n); n == 0 {
				runtime.Gosched()
			}
		}
	})
	buf := make([]uint64, 23)
	for next := uint64(0); next < total; {
		n := c.ready(uint32(len(buf)))
		c.take(buf[:n])
		c.release(n)
		if n == 0 {
			runtime.Gosched()
		}
		for _, v := range buf[:n] {
			if v != next {
				t.Fatalf("got %d, want %d", v, next)
			}
			next++
		}
	}
	wg.Wait()
}

func TestLayout(t *testing.T) {
	if s := unsafe.Sizeof(Desc{}); s != 16 {
		t.Errorf("Desc is %d bytes; struct xdp_desc is 16", s)
	}
	var m memoryRing[Desc]
	lines := map[uintptr]string{}
	for name, off := range map[string]uintptr{
		"producer": unsafe.Offsetof(m.producer), "consumer": unsafe.Offsetof(m.consumer), "flags": unsafe.Offsetof(m.flags),
	} {
		if other := lines[off/64]; other != "" {
			t.Errorf("%s and %s share a cache line", name, other)
		}
		lines[off/64] = name
	}
}

func TestSizes(t *testing.T) {
	s := Sizes{}
	if s.FramesFor() != 2*DefaultRingSize {
		t.Errorf("FramesFor of the default is %d", s.FramesFor())
	}
	for _, bad := range []Sizes{{RX: 3}, {TX: -1}, {Fill: 1<<24 + 1}} {
		if _, _, err := NewMemory(NewFrames(make([]byte, FrameSize)), bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func BenchmarkRing(b *testing.B) {
	for _, batch := range []int{1, 64} {
		b.Run(map[int]string{1: "batch=1", 64: "batch=64"}[batch], func(b *testing.B) {
			p, c, _ := pair(2048, 0)
			buf := make([]uint64, batch)
			for b.Loop() {
				p.room(uint32(batch))
				p.put(buf)
				p.publish(uint32(batch))
				n := c.ready(uint32(batch))
				c.take(buf[:n])
				c.release(n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/descriptor")
		})
	}
}
