package neigh

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/packet"
)

// key is an address as a number, so that prefixes are ranges: IPv4 in the low 32 bits, IPv6 in all 128.
type key struct{ hi, lo uint64 }

func keyOf(a packet.Addr) key {
	if a.Is4() {
		return key{0, uint64(a.V4())}
	}
	b := a.As16()
	return key{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}

func (k key) less(o key) bool { return k.hi < o.hi || k.hi == o.hi && k.lo < o.lo }

// next is the number that follows k; ok is false after the last one.
func (k key) next() (_ key, ok bool) {
	k.lo++
	if k.lo == 0 {
		k.hi++
		return k, k.hi != 0
	}
	return k, true
}

// lastOf is the last address of the prefix that begins at k; size is 32 or 128.
func (k key) lastOf(bits, size int) key {
	host := size - bits
	if host >= 64 {
		k.lo = ^uint64(0)
		k.hi |= 1<<(host-64) - 1 // a shift by 64 gives 0, minus 1 all ones
		return k
	}
	k.lo |= 1<<host - 1
	return k
}

// multicast tells whether k is a multicast address or IPv4's limited broadcast; f is 0 for IPv4, 1 for IPv6.
func multicast(f int, k key) bool {
	if f == 0 {
		return k.lo>>28 == 0xe || k.lo == 0xffffffff
	}
	return k.hi>>56 == 0xff
}

// table is one routing table of one family, flattened: the address space is cut where any prefix begins or ends, and
// each piece knows the longest prefix over it. A look-up is one binary search.
//
//	10.0.0.0/8    |-----------------------------|
//	10.1.0.0/16         |---------|
//	starts        ^     ^         ^              ^
//	piece           A        B          A          none
type table struct {
	starts []key
	route  []int32 // index into routes of the piece that begins at starts[i]; -1: none
	routes []route
}

// route is what a prefix leads to.
type route struct {
	kind   Kind
	weight uint32 // sum over vias
	vias   []via
}

// via is one path of a route.
type via struct {
	iface   int32
	up      bool
	weight  uint32
	mtu     uint32
	hop     HopID      // of the gateway
	gateway netip.Addr // invalid: the destination is on the link
	source  packet.Addr
}

// find returns the route of the longest prefix over k, or nil.
func (t *table) find(k key) *route {
	lo, hi := 0, len(t.starts)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if k.less(t.starts[m]) {
			hi = m
		} else {
			lo = m + 1
		}
	}
	if lo == 0 || t.route[lo-1] < 0 {
		return nil
	}
	return &t.routes[t.route[lo-1]]
}

// pick chooses among the paths of a route by the destination, in proportion to their weights; a path whose interface
// is down is taken only by nobody. nil: no path.
func (r *route) pick(dst packet.Addr) *via {
	if len(r.vias) == 1 {
		if v := &r.vias[0]; v.up {
			return v
		}
		return nil
	}
	if r.weight == 0 {
		return nil
	}
	n := uint32(uint64(dst.Fold()*0x9e3779b1) * uint64(r.weight) >> 32)
	for i := range r.vias {
		v := &r.vias[i]
		if !v.up {
			continue
		}
		if n < v.weight {
			return v
		}
		n -= v.weight
	}
	return nil
}

// span is a prefix as a range of addresses.
type span struct {
	first, last key
	bits        int
	metric      uint32
	route       route
}

// newSpan converts a prefix, which must be masked.
func newSpan(p netip.Prefix, metric uint32, r route) span {
	first := keyOf(packet.AddrFrom(p.Addr()))
	size := 128
	if p.Addr().Is4() {
		size = 32
	}
	return span{first: first, last: first.lastOf(p.Bits(), size), bits: p.Bits(), metric: metric, route: r}
}

// newTable flattens the prefixes. Of equal ones the lowest metric wins, then the first given.
func newTable(spans []span) table {
	slices.SortStableFunc(spans, func(a, b span) int {
		switch {
		case a.first != b.first:
			if a.first.less(b.first) {
				return -1
			}
			return 1
		case a.bits != b.bits:
			return a.bits - b.bits
		case a.metric != b.metric:
			if a.metric < b.metric {
				return -1
			}
			return 1
		}
		return 0
	})
	var t table
	var open []int32 // routes whose prefix covers the present place, innermost last
	var ends []key
	cut := func(at key, r int32) {
		if n := len(t.starts); n > 0 && t.starts[n-1] == at {
			t.route[n-1] = r
			return
		}
		t.starts, t.route = append(t.starts, at), append(t.route, r)
	}
	shut := func() { // the innermost prefix ends
		n := len(open) - 1
		at, ok := ends[n].next()
		open, ends = open[:n], ends[:n]
		if !ok {
			return
		}
		if n == 0 {
			cut(at, -1)
		} else {
			cut(at, open[n-1])
		}
	}
	for i := range spans {
		s := &spans[i]
		if i > 0 && s.first == spans[i-1].first && s.bits == spans[i-1].bits {
			continue
		}
		for len(ends) > 0 && ends[len(ends)-1].less(s.first) {
			shut()
		}
		n := int32(len(t.routes))
		t.routes = append(t.routes, s.route)
		cut(s.first, n)
		open, ends = append(open, n), append(ends, s.last)
	}
	for len(open) > 0 {
		shut()
	}
	return t
}
