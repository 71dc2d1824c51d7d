package neigh

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/packet"
)

// Route is a route as the kernel, or a configuration, gives it.
type Route struct {
	Dst    netip.Prefix
	Local  bool // of the kernel's local table, which is asked first
	Kind   Kind
	Metric uint32     // among equal prefixes the lowest wins
	MTU    uint32     // 0: the interface's
	Source netip.Addr // preferred source; invalid: the interface's first address of the family
	Vias   []Via      // of a LocalAddr route: the interface that has the address
}

// Via is one path of a route.
type Via struct {
	Interface int        // index into the Builder's interfaces
	Gateway   netip.Addr // invalid: on the link
	Weight    uint32     // 0 counts as 1
}

// Builder makes snapshots out of a changing network. Interfaces keep their positions and neighbours their HopIDs over
// its whole life. It is not safe for concurrent use; the snapshots are.
type Builder struct {
	interfaces []Interface
	routes     []Route
	hops       []Hop
	index      map[hopKey]HopID
	shared     bool // index is in a snapshot: copy it before writing
	stale      bool // tables must be made anew
	local      [2]table
	main       [2]table
	generation uint32
	routeGen   uint32
}

// NewBuilder returns a Builder of an empty network.
func NewBuilder() *Builder {
	return &Builder{hops: make([]Hop, 1), index: map[hopKey]HopID{}, stale: true}
}

// Interfaces returns the interfaces at their positions; the slice is the Builder's and valid until SetInterfaces.
func (b *Builder) Interfaces() []Interface { return b.interfaces }

// SetInterfaces replaces all interfaces and returns the position each got. An interface keeps the position of the one
// with its kernel index (if not 0), else of the one with its name. parent gives, for each, the position in list of the
// NIC that carries it, or its own; Interface.Parent is ignored.
func (b *Builder) SetInterfaces(list []Interface, parent []int) []int {
	old := b.interfaces
	next := slices.Clone(old)
	at := make([]int, len(list))
	taken := make([]bool, len(old), len(old)+len(list))
	claim := func(i int, same func(o *Interface) bool) bool {
		for p := range old {
			if !taken[p] && same(&old[p]) {
				at[i], taken[p] = p, true
				return true
			}
		}
		return false
	}
	found := make([]bool, len(list))
	for i, f := range list {
		found[i] = f.Index != 0 && claim(i, func(o *Interface) bool { return !o.Gone && o.Index == f.Index })
	}
	for i, f := range list {
		if !found[i] && !claim(i, func(o *Interface) bool { return o.Name == f.Name }) {
			at[i] = len(next)
			next, taken = append(next, Interface{}), append(taken, true)
		}
	}
	for i, f := range list {
		f.Parent = at[parent[i]]
		f.Gone = false
		next[at[i]] = f
	}
	for p := range old {
		if !taken[p] {
			next[p].Up, next[p].Gone, next[p].Addrs, next[p].Index = false, true, nil, 0
		}
	}
	b.interfaces = next
	b.stale = true
	return at
}

// SetMTU changes one interface's MTU, in bytes.
func (b *Builder) SetMTU(iface int, mtu uint32) {
	b.interfaces = slices.Clone(b.interfaces)
	b.interfaces[iface].MTU = mtu
	b.stale = true
}

// SetRoutes replaces all routes. Routes with an invalid prefix are left out.
func (b *Builder) SetRoutes(routes []Route) {
	b.routes = routes
	b.stale = true
}

// Want gives the neighbour addr on an interface a number, so that snapshots show it before it is resolved.
func (b *Builder) Want(iface int, addr netip.Addr) HopID {
	k := hopKey{int32(iface), packet.AddrFrom(addr)}
	if id := b.index[k]; id != 0 {
		return id
	}
	if b.shared {
		b.index, b.shared = maps.Clone(b.index), false
	}
	id := HopID(len(b.hops))
	b.hops = append(b.hops, Hop{Interface: iface, Addr: addr.Unmap().WithZone("")})
	b.index[k] = id
	return id
}

// Resolve notes the neighbour's MAC; it reports whether that changes anything.
func (b *Builder) Resolve(iface int, addr netip.Addr, mac [6]byte) bool {
	return b.set(b.Want(iface, addr), mac, true, false)
}

// Fail notes that the neighbour does not answer. An unknown neighbour is not given a number.
func (b *Builder) Fail(iface int, addr netip.Addr) bool {
	id := b.index[hopKey{int32(iface), packet.AddrFrom(addr)}]
	return id != 0 && b.set(id, [6]byte{}, false, true)
}

// Forget notes that nothing is known of the neighbour any more. Its number remains its own.
func (b *Builder) Forget(iface int, addr netip.Addr) bool {
	id := b.index[hopKey{int32(iface), packet.AddrFrom(addr)}]
	return id != 0 && b.set(id, [6]byte{}, false, false)
}

func (b *Builder) set(id HopID, mac [6]byte, resolved, failed bool) bool {
	h := &b.hops[id]
	if h.MAC == mac && h.Resolved == resolved && h.Failed == failed {
		return false
	}
	h.MAC, h.Resolved, h.Failed = mac, resolved, failed
	return true
}

// Hop returns what is known of a next hop.
func (b *Builder) Hop(id HopID) Hop { return b.hops[id] }

// Snapshot returns the network as it is now.
func (b *Builder) Snapshot() *Snapshot {
	if b.stale {
		b.build()
		b.stale = false
		b.routeGen++
	}
	b.generation++
	b.shared = true
	return &Snapshot{
		Interfaces:      b.interfaces,
		Generation:      b.generation,
		RouteGeneration: b.routeGen,
		hops:            slices.Clone(b.hops),
		index:           b.index,
		local:           b.local,
		main:            b.main,
	}
}

// build makes the tables out of the routes.
func (b *Builder) build() {
	var local, main [2][]span
	for i := range b.routes {
		r := &b.routes[i]
		if !r.Dst.IsValid() {
			continue
		}
		f := 0
		if r.Dst.Addr().Is6() {
			f = 1
		}
		s := newSpan(r.Dst.Masked(), r.Metric, b.route(r, f))
		if r.Local {
			local[f] = append(local[f], s)
		} else {
			main[f] = append(main[f], s)
		}
	}
	for f := range 2 {
		b.local[f], b.main[f] = newTable(local[f]), newTable(main[f])
	}
}

func (b *Builder) route(r *Route, f int) route {
	out := route{kind: r.Kind}
	for _, v := range r.Vias {
		if v.Interface < 0 || v.Interface >= len(b.interfaces) {
			continue
		}
		i := &b.interfaces[v.Interface]
		w := via{iface: int32(v.Interface), up: i.Up, weight: max(v.Weight, 1), mtu: i.Longest()}
		if r.MTU > 0 && (r.MTU < w.mtu || w.mtu == 0) {
			w.mtu = r.MTU
		}
		if v.Gateway.IsValid() {
			w.gateway = v.Gateway.Unmap().WithZone("")
			w.hop = b.Want(v.Interface, w.gateway)
		}
		if w.source = packet.AddrFrom(r.Source); w.source.IsZero() {
			w.source = b.source(v.Interface, f)
		}
		if w.up {
			out.weight += w.weight
		}
		out.vias = append(out.vias, w)
	}
	return out
}

// source is the first address of the family on the interface, or, where it has none, on any; link-local ones of IPv6
// come last. The zero value: the director has no address of this family.
func (b *Builder) source(iface, f int) packet.Addr {
	first := func(i *Interface, linkLocal bool) packet.Addr {
		for _, p := range i.Addrs {
			a := p.Addr()
			if a.Is6() == (f == 1) && (f == 0 || a.IsLinkLocalUnicast() == linkLocal) && !a.IsLoopback() {
				return packet.AddrFrom(a)
			}
		}
		return packet.Addr{}
	}
	if a := first(&b.interfaces[iface], false); !a.IsZero() {
		return a
	}
	for i := range b.interfaces {
		if a := first(&b.interfaces[i], false); !a.IsZero() {
			return a
		}
	}
	return first(&b.interfaces[iface], true)
}
