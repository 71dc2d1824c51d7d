package bench

import (
	"encoding/binary"
	"math/bits"
	"runtime"
	"slices"
	"time"
)

// missTime measures a dependent load at random over mem, at least a page: the price of one trip to memory that nothing
// hides. It takes about d. What was in mem is lost.
//
// The walk goes once through all cache lines in an order that no prefetcher guesses, so it cannot fall into a short loop:
// line shuffle(j) holds the number of line shuffle(j+1).
func missTime(mem []byte, d time.Duration) float64 {
	const line = 64
	lines := uint32(len(mem) / line)
	width := bits.Len32(lines - 1)
	first := uint32(1 << 31)
	last := first
	for j := range uint32(1) << width {
		at := shuffle(j, width)
		if at >= lines {
			continue
		}
		if first == 1<<31 {
			first = at
		} else {
			binary.NativeEndian.PutUint32(mem[uint64(last)*line:], at)
		}
		last = at
	}
	binary.NativeEndian.PutUint32(mem[uint64(last)*line:], first)
	at := first
	for range min(lines, 1<<20) { // warm up
		at = binary.NativeEndian.Uint32(mem[uint64(at)*line:])
	}
	const pieces, fewest, steps = 500, 20, 4000
	var list [pieces]float32
	spent := list[:0]
	for begin := nanotime(); len(spent) < fewest || len(spent) < pieces && nanotime() < begin+int64(d); {
		start := nanotime()
		for range steps {
			at = binary.NativeEndian.Uint32(mem[uint64(at)*line:])
		}
		spent = append(spent, float32(nanotime()-start)/steps)
	}
	runtime.KeepAlive(at) // or the walk would be optimised away
	return median(spent)
}

// shuffle is a permutation of the numbers of width bits: each step of it can be undone.
func shuffle(x uint32, width int) uint32 {
	mask := uint32(1)<<width - 1
	half := max(width/2, 1)
	for _, m := range [...]uint32{0x9e3779b1, 0x85ebca77, 0xc2b2ae3d} {
		x = x * m & mask
		x ^= x >> half
	}
	return x
}

// median of a list, which it sorts; 0 of none.
func median(list []float32) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return float64(list[len(list)/2])
}
