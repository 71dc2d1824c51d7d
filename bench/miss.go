package bench

import (
	"encoding/binary"
	"runtime"

	"github.com/fastlb/fastlb/numa"
)

// miss measures a dependent load at random over an area as large as the table, in the same kind of pages: the price of one
// trip to memory that nothing hides.
func (s *site) miss(huge numa.HugePages) (float64, error) {
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
	steps := 4_000_000
	at := uint32(0)
	for range min(int(n), 1<<20) { // warm up
		at = binary.NativeEndian.Uint32(m.Bytes[uint64(at)*line:])
	}
	start := nanotime()
	for range steps {
		at = binary.NativeEndian.Uint32(m.Bytes[uint64(at)*line:])
	}
	spent := nanotime() - start
	runtime.KeepAlive(at) // or the walk would be optimised away
	return float64(spent) / float64(steps), nil
}
