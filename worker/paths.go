package worker

import (
	"maps"
	"sync/atomic"

	"github.com/fastlb/fastlb/packet"
)

// pmtuLife is how long a learnt path MTU is believed (net.ipv4.route.mtu_expires), leastPMTU the smallest that is
// (net.ipv4.route.min_pmtu).
const (
	pmtuLife  = 600 * int64(1e9)
	leastPMTU = 552
)

// maxPaths bounds what is remembered: an error can be sent by anybody on the way, but only about a server's address.
const maxPaths = 4096

// Paths are what routers said about the paths to tunnel ends: one for all workers of a director, since the error about a
// packet may reach another worker than the one that sent it. Reading is one atomic load; learning copies, and is rare.
type Paths struct {
	known atomic.Pointer[map[packet.Addr]path] // published by learn; never written again
	least atomic.Uint32                        // the smallest MTU learnt so far; 0: none was. Lowered by learn alone
}

type path struct {
	mtu   int
	until int64 // clock.Time
}

// maxOverhead is the longest of all tunnel headers: GUE in IPv6 with remote checksum.
const maxOverhead = 40 + 8 + 4 + 8

// clear tells that no path was learnt to be too narrow for a packet of so many bytes in a tunnel, wherever that ends.
//
//fastlb:hot
func (p *Paths) clear(length uint32) bool {
	l := p.least.Load()
	return l == 0 || length+maxOverhead <= l
}

// get is the learnt MTU of the path to a tunnel's end, or a number larger than any.
func (p *Paths) get(end packet.Addr, now int64) int {
	if m := p.known.Load(); m != nil {
		if e, ok := (*m)[end]; ok && now < e.until {
			return e.mtu
		}
	}
	return 1 << 16
}

// learn notes a path MTU.
func (p *Paths) learn(end packet.Addr, mtu int, now int64) {
	mtu = max(mtu, leastPMTU)
	for {
		old := p.known.Load()
		m := map[packet.Addr]path{}
		if old != nil {
			m = maps.Clone(*old)
		}
		maps.DeleteFunc(m, func(_ packet.Addr, e path) bool { return e.until <= now })
		if _, ok := m[end]; !ok && len(m) >= maxPaths {
			return
		}
		m[end] = path{mtu, now + pmtuLife}
		if p.known.CompareAndSwap(old, &m) {
			break
		}
	}
	for {
		l := p.least.Load()
		if l != 0 && l <= uint32(mtu) || p.least.CompareAndSwap(l, uint32(mtu)) {
			return
		}
	}
}
