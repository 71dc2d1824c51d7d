//go:build !race

package service

// add adds to a counter that only the caller writes: a plain load and store, which readers see whole on the 64-bit
// machines that fastlb runs on.
func add(p *uint64, n uint64) { *p += n }

// load reads a counter that somebody else may be writing.
func load(p *uint64) uint64 { return *p }
