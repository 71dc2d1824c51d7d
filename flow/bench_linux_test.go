package flow

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// bigTable is a table of n connections in huge pages, filled in random order of key.
func bigTable(b *testing.B, n uint32, method func(uint32) uint32) (*Table, []byte) {
	b.Helper()
	m, err := Map(MapOptions{Regions: []RegionSpec{{"flows", Size(n)}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Close(); err != nil {
			b.Error(err)
		}
	})
	tab, err := New(m.Region("flows"), Config{Capacity: n, Seed: testSeed, Workers: 1})
	if err != nil {
		b.Fatal(err)
	}
	tab.BeginRound(0)
	for _, i := range shuffled(n) {
		if _, won := addConn(tab, 0, i, method(i), 1<<60); !won {
			b.Fatalf("full at %d", tab.Len())
		}
	}
	b.Logf("%d connections, pages %s", n, m.Pages())
	return tab, m.Region("flows")
}

func shuffled(n uint32) []uint32 {
	rng := rand.New(rand.NewPCG(9, 9))
	p := make([]uint32, n)
	for i := range p {
		p[i] = uint32(i)
	}
	rng.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	return p
}

// missTime is what a load costs that depends on the load before it and hits a random cache line of size bytes in huge
// pages: the yardstick for look-ups.
func missTime(b *testing.B, size int64) float64 {
	b.Helper()
	m, err := Map(MapOptions{Regions: []RegionSpec{{"chase", size}}})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	mem := m.Region("chase")
	lines := uint32(size / 64)
	next := make([]uint32, lines) // Sattolo: one cycle through all lines
	for i := range next {
		next[i] = uint32(i)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	for i := lines - 1; i > 0; i-- {
		j := rng.Uint32N(i)
		next[i], next[j] = next[j], next[i]
	}
	for i, to := range next {
		binary.NativeEndian.PutUint32(mem[i*64:], to)
	}
	const steps = 1 << 14
	at := uint32(0)
	var q quartile
	for range 100 {
		start := time.Now()
		for range steps {
			at = binary.NativeEndian.Uint32(mem[int(at)*64:])
		}
		q = append(q, float64(time.Since(start))/steps)
	}
	if at == lines {
		b.Log(at)
	}
	return q.value()
}

// quartile is the lower quartile of measured stretches of a few milliseconds: what the machine does when nobody else has
// the processor.
type quartile []float64

func (q quartile) value() float64 {
	slices.Sort(q)
	return q[len(q)/4]
}

func benchSizes(b *testing.B) []uint32 {
	if testing.Short() {
		return []uint32{1000, 100_000}
	}
	return []uint32{1000, 1_000_000, 10_000_000}
}

// BenchmarkLookup is a look-up in random order, in batches of 64 and one by one, of client packets (in) and of NAT
// servers' replies (out); beside it a memory miss over a region of the table's size, and the ratio to it.
func BenchmarkLookup(b *testing.B) {
	for _, n := range benchSizes(b) {
		for _, dir := range []string{"in", "out"} {
			b.Run(fmt.Sprintf("conns=%d/%s", n, dir), func(b *testing.B) {
				method, key := uint32(3), tcpKey
				if dir == "out" {
					method, key = methodNAT, outKey
				}
				tab, _ := bigTable(b, n, func(uint32) uint32 { return method })
				miss := missTime(b, Size(n))
				rng := rand.New(rand.NewPCG(8, 8))
				keys := make([]Key, 1<<20)
				for i := range keys {
					keys[i] = key(rng.Uint32N(n))
				}
				for _, batch := range []int{64, 1} {
					b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
						benchLookup(b, tab, keys, batch, miss)
					})
				}
				b.Run("stages", func(b *testing.B) { benchStages(b, tab, keys) })
			})
		}
	}
}

func benchLookup(b *testing.B, tab *Table, keys []Key, batch int, miss float64) {
	const stretch = 512
	p := make([]Probe, stretch)
	at := 0
	var q quartile
	for n := 0; n < b.N; n += stretch {
		fill(p, keys, &at)
		start := time.Now()
		for m := 0; m < stretch; m += batch {
			tab.LookupBatch(p[m:m+batch], nil)
		}
		q = append(q, float64(time.Since(start))/stretch)
		for i := range p {
			if p[i].Ref == 0 {
				b.Fatal("not found")
			}
		}
	}
	ns := q.value()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ns, "ns/probe")
	b.ReportMetric(miss, "ns/miss")
	b.ReportMetric(ns/miss, "misses/probe")
}

// benchStages splits a batch of 64 into its stages.
func benchStages(b *testing.B, tab *Table, keys []Key) {
	p := make([]Probe, 64)
	var spent [3]quartile
	at := 0
	for n := 0; n < b.N; n += len(p) {
		fill(p, keys, &at)
		t1 := time.Now()
		tab.HashAll(p)
		t2 := time.Now()
		tab.Match(p)
		t3 := time.Now()
		tab.Resolve(p, nil)
		t4 := time.Now()
		for i, d := range []time.Duration{t2.Sub(t1), t3.Sub(t2), t4.Sub(t3)} {
			spent[i] = append(spent[i], float64(d)/float64(len(p)))
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, name := range []string{"hash", "match", "resolve"} {
		b.ReportMetric(spent[i].value(), name+"-ns")
	}
}

// fill puts the next keys into the probes.
func fill(p []Probe, keys []Key, at *int) {
	for i := range p {
		p[i].Key = keys[*at+i]
	}
	*at = (*at + len(p)) % len(keys)
}

// BenchmarkNew is a new connection from the look-up that fails to its expiry, in rounds of 64, at half load: look-up,
// Alloc, fill in, Insert, and the sweep's share with Remove.
func BenchmarkNew(b *testing.B) {
	for _, n := range benchSizes(b) {
		for name, method := range map[string]uint32{"dr": 3, "nat": methodNAT} {
			b.Run(fmt.Sprintf("conns=%d/%s", n, name), func(b *testing.B) { benchNew(b, n, method) })
		}
	}
}

func benchNew(b *testing.B, capacity, method uint32) {
	const (
		round   = 64
		stretch = 64 // rounds
	)
	apart := int64(10e9) / int64(capacity) // ns between two connections: half the table is 5 s
	m, err := Map(MapOptions{Regions: []RegionSpec{{"flows", Size(capacity)}}})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	tab, err := New(m.Region("flows"), Config{Capacity: capacity, Seed: testSeed, Workers: 1})
	if err != nil {
		b.Fatal(err)
	}
	var now int64
	expire := func(r Ref) int64 {
		tab.Remove(0, r)
		return 0
	}
	lifetime := int64(capacity) / 2 * apart
	budget := max(int(int64(capacity)*round*apart/1e9), 64)
	p := make([]Probe, round)
	serial := uint32(0)
	oneRound := func() {
		now += round * apart
		tab.BeginRound(0)
		for i := range p {
			serial++
			p[i].Key = tcpKey(serial * 0x9e3779b1) // all 2^32, scattered
		}
		tab.LookupBatch(p, nil)
		for i := range p {
			r := tab.Alloc(0)
			if r == 0 {
				b.Fatalf("full with %d of %d", tab.Len(), capacity)
			}
			c, k := tab.Conn(r), &p[i].Key
			c.Client, c.CPort, c.Virtual, c.VPort, c.Proto = k.Src, k.SrcPort, k.Dst, k.DstPort, k.Proto
			c.Dest, c.DPort = v4(10, 255, 0, 1), 8080
			c.Flags = method
			c.Deadline = now + lifetime
			if _, won := tab.InsertHashed(0, r, p[i].Hash); !won {
				b.Fatal("not inserted")
			}
		}
		tab.Sweep(0, now, budget, expire)
	}
	for range int64(capacity) / round * 3 / 4 {
		oneRound()
	}
	var q quartile
	for n := 0; n < b.N; n += round * stretch {
		start := time.Now()
		for range stretch {
			oneRound()
		}
		q = append(q, float64(time.Since(start))/(round*stretch))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(q.value(), "ns/connection")
	b.ReportMetric(1e3/q.value(), "Mconn/s")
	b.Logf("%d of %d connections live", tab.Len(), capacity)
}

// BenchmarkOpen is the recovery of a full table after a crash.
func BenchmarkOpen(b *testing.B) {
	n := benchSizes(b)[1]
	_, mem := bigTable(b, n, func(uint32) uint32 { return methodNAT })
	for b.Loop() {
		again, err := Open(mem, 1)
		if err != nil || again.Len() != int(n) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(n), "ns/connection")
}
