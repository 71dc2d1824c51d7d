//go:build amd64 || arm64

package flow

// prefetchProbes asks for the cache line at each probe's addr + line. It is one call a pass, because a call a packet
// would eat the gain. A prefetch never faults, so addr need not be valid.
//
//go:noescape
func prefetchProbes(p *Probe, n int, line uintptr)
