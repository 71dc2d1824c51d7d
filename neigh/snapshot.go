package neigh

import (
	"net/netip"

	"github.com/fastlb/fastlb/packet"
)

// HopID numbers a next hop: a neighbour on an interface. It stays the same for the neighbour across snapshots, so a
// connection may keep it. 0 is none.
type HopID uint32

// Hop is a next hop.
type Hop struct {
	Interface int        // index into Snapshot.Interfaces
	Addr      netip.Addr // the neighbour's address
	MAC       [6]byte    // valid when Resolved
	Resolved  bool
	Failed    bool // resolution was tried and failed
}

// Interface is a (logical) interface: a NIC, or a VLAN on one.
type Interface struct {
	Name   string
	Index  int // the kernel's; 0 in replay
	Parent int // index into Snapshot.Interfaces of the NIC that carries this VLAN; its own index for a NIC
	VLAN   uint16
	MAC    [6]byte
	MTU    uint32
	Limit  uint32         // longest packet that the dataplane carries there, where its frames are shorter than the MTU; 0: the MTU
	Addrs  []netip.Prefix // in order: the first of each family is the source of what the director itself sends
	Up     bool
	Gone   bool // it was removed; the entry stands so that the numbers of the others stay
}

// Longest is the longest packet that can be sent on the interface.
func (i *Interface) Longest() uint32 {
	if i.Limit > 0 {
		return min(i.MTU, i.Limit)
	}
	return i.MTU
}

// Kind is the outcome of a route look-up.
type Kind uint8

const (
	Unreachable Kind = iota // no route
	Unicast                 // through Hop, or Hop 0: neighbour Next on Interface is not known yet
	LocalAddr               // the director's own address
	Blackhole               // a route that drops, or multicast and broadcast
)

// Result of a route look-up.
type Result struct {
	Kind      Kind
	Hop       HopID       // 0 while the neighbour is not known
	Interface int         // index into Snapshot.Interfaces
	Next      netip.Addr  // the neighbour to ask for
	MTU       uint32      // of the path: the route's metric or the interface's Longest
	Source    packet.Addr // preferred source address
}

// Resolver answers where a packet to an address goes. Snapshot implements it; look-ups never block and do not change
// anything, so any number of workers may share one.
type Resolver interface {
	Route(dst packet.Addr) Result
}

// Snapshot is the network at one moment. It is immutable: any number of workers read it without synchronisation. Make
// one with a Builder.
type Snapshot struct {
	Interfaces []Interface // positions are stable across the snapshots of one Builder; a removed one stays, not Up
	Generation uint32      // grows by one with every snapshot of the Builder

	// RouteGeneration grows when interfaces, addresses or routes changed, and not when neighbours alone did: the result
	// of a look-up that gave a HopID is good while it stays the same.
	RouteGeneration uint32

	hops        []Hop // by HopID; the first is unused
	index       map[hopKey]HopID
	local, main [2]table // the kernel's two tables; IPv4, IPv6
}

// hopKey identifies a neighbour.
type hopKey struct {
	iface int32
	addr  packet.Addr
}

var _ Resolver = (*Snapshot)(nil)

// Empty is a network without interfaces: every look-up is Unreachable.
func Empty() *Snapshot { return &Snapshot{hops: make([]Hop, 1)} }

// Hop returns the next hop with the number id; 0 and unknown numbers give a Hop that is not Resolved. The result must
// not be written to.
func (s *Snapshot) Hop(id HopID) *Hop {
	if int(id) >= len(s.hops) {
		id = 0
	}
	return &s.hops[id]
}

// Hops is the count of next hops: ids are 1 to Hops().
func (s *Snapshot) Hops() int { return len(s.hops) - 1 }

// HopOf returns the number of the neighbour addr on an interface (index into Interfaces), 0 if it is not known.
func (s *Snapshot) HopOf(iface int, addr packet.Addr) HopID {
	return s.index[hopKey{int32(iface), addr}]
}

// InterfaceByName returns the index into Interfaces of the interface called name.
func (s *Snapshot) InterfaceByName(name string) (int, bool) {
	for i := range s.Interfaces {
		if s.Interfaces[i].Name == name && !s.Interfaces[i].Gone {
			return i, true
		}
	}
	return -1, false
}

// Route says where a packet to dst goes: the kernel's local table first, then the main one, the longest prefix in each.
// It does not allocate.
func (s *Snapshot) Route(dst packet.Addr) Result {
	f := 0
	if !dst.Is4() {
		f = 1
	}
	k := keyOf(dst)
	if multicast(f, k) {
		return Result{Kind: Blackhole}
	}
	r := s.local[f].find(k)
	if r == nil {
		if r = s.main[f].find(k); r == nil {
			return Result{Kind: Unreachable}
		}
	}
	switch r.kind {
	case Unicast:
	case LocalAddr:
		res := Result{Kind: LocalAddr, Next: dst.Netip(), Source: dst}
		if len(r.vias) > 0 {
			res.Interface, res.MTU = int(r.vias[0].iface), r.vias[0].mtu
		}
		return res
	default:
		return Result{Kind: r.kind}
	}
	v := r.pick(dst)
	if v == nil {
		return Result{Kind: Unreachable}
	}
	res := Result{Kind: Unicast, Hop: v.hop, Interface: int(v.iface), Next: v.gateway, MTU: v.mtu, Source: v.source}
	if !v.gateway.IsValid() {
		res.Next = dst.Netip()
		res.Hop = s.index[hopKey{v.iface, dst}]
	}
	return res
}
