package bench

import (
	"encoding/binary"
	"runtime"
	"slices"
	"time"

	"github.com/fastlb/fastlb/numa"
)

// miss measures a dependent load at random over an area as large as the table, in the same kind of pages: the price of one
// trip to memory that nothing hides. It takes about as long as d, two seconds at most.
func (s *site) miss(huge numa.HugePages, d time.Duration) (float64, error) {
	const line = 64
	m, err := numa.Alloc(max(len(s.memory.Bytes), 1<<16), huge, -1)
	if err != nil {
		return 0, err
	}
	defer func() { _ = m.Free() }()
	n := uint64(len(m.Bytes) / line)
	// One cycle through all lines (Sattolo's algorithm), so that the walk cannot fall into a short loop.
	perm := make([]uint32, n)
	for i := range perm {
		perm[i] = uint32(i)
	}
	rng := uint64(0x9e3779b97f4a7c15)
	for i := n - 1; i > 0; i-- {
		rng ^= rng << 13
		rng ^= rng >> 7
		rng ^= rng << 17
		j := rng % i
		perm[i], perm[j] = perm[j], perm[i]
	}
	for i, p := range perm {
		binary.NativeEndian.PutUint32(m.Bytes[i*line:], p)
	}
	at := uint32(0)
	for range min(int(n), 1<<20) { // warm up
		at = binary.NativeEndian.Uint32(m.Bytes[uint64(at)*line:])
	}
	const pieces, fewest, steps = 500, 20, 4000
	var list [pieces]float32
	spent := list[:0]
	for begin := nanotime(); len(spent) < fewest || len(spent) < pieces && nanotime() < begin+int64(d); {
		start := nanotime()
		for range steps {
			at = binary.NativeEndian.Uint32(m.Bytes[uint64(at)*line:])
		}
		spent = append(spent, float32(nanotime()-start)/steps)
	}
	runtime.KeepAlive(at) // or the walk would be optimised away
	return median(spent), nil
}

// median of a list, which it sorts; 0 of none.
func median(list []float32) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return float64(list[len(list)/2])
}
