//go:build amd64 || arm64

package ring

// prefetchPackets asks for the first cache line of each of n packets. A prefetch never faults.
//
//go:noescape
func prefetchPackets(mem *byte, d *Desc, n int)
