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
	Addrs  []netip.Prefix // in order: the first of each family is the source of what the director itself sends
	Up     bool
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
	MTU       uint32      // of the path: the route's metric or the interface's
	Source    packet.Addr // preferred source address
}

// Resolver answers where a packet to an address goes. Snapshot implements it; look-ups never block and do not change
// anything, so any number of workers may share one.
type Resolver interface {
	Route(dst packet.Addr) Result
}
