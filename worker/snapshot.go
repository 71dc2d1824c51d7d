package worker

import (
	"encoding/binary"
	"slices"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/modes"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// Snapshot is everything that a worker follows, immutable: the director publishes a new one for every change, a worker
// loads it once a round. Make it with NewSnapshot.
type Snapshot struct {
	Services *service.Snapshot
	Net      *neigh.Snapshot
	Timeouts flow.Timeouts
	Tunables service.Tunables
	// PortOf gives the port number that carries an interface's traffic, by index into Net.Interfaces; -1: none.
	PortOf []int16

	generation uint32 // 1 to hopRoutes; of routes, addresses and interfaces: hops kept in connections are good while it is the same
	egress     []egress
	vlans      []vlan
	targets    []target      // by server slot number
	servers    []packet.Addr // by server slot number, none where it is not available: for the look-up
	secure     bool          // the secure_tcp table is in force
}

// linkAddrs is the first 12 bytes of a link header, the addresses, as they lie in memory.
type linkAddrs [2]uint64

// put writes them.
//
//fastlb:hot
func (l *linkAddrs) put(h *[12]byte) {
	binary.NativeEndian.PutUint64(h[:], l[0])
	binary.NativeEndian.PutUint32(h[8:], uint32(l[1]))
}

// egress is what transmit needs to know of a next hop: 48 bytes, by neigh.HopID.
type egress struct {
	link  linkAddrs // those of l2
	l2    [20]byte  // link header up to the ethertype: addresses, and a tag where the interface is a VLAN
	l2len uint8     // 12, 16 or 20
	ok    bool      // the neighbour's MAC is known and the interface has a port
	port  int16     // -1: none
	iface int32
	mtu   uint32
}

// target is what established needs to know of a server, the link header included, by slot number. What direct routing
// needs is the first cache line.
type target struct {
	link    linkAddrs // of the link header to the server
	limit   uint32    // longest packet, before encapsulation, that needs no second thought; 0: none is
	hop     uint32
	addr    packet.Addr
	port    int16 // of the next hop
	method  service.Method
	tunnel  service.TunnelType
	tunSum  service.TunnelChecksum
	tagged  bool // the link header is longer
	_       uint8
	tunPort uint16
	avail   bool
	_       [5]byte
	source  packet.Addr
	mtu     uint32 // of the path
	outer   modes.Outer4
	plain   bool // outer holds all of the outer header: IPIP over IPv4, in no VLAN
	_       [39]byte
}

// vlan maps a tag on a port to a logical interface.
type vlan struct {
	port         int16
	outer, inner uint16 // packet.NoVLAN: absent
	iface        int32
}

// NewSnapshot prepares a snapshot. previous may be nil; it tells whether routes changed.
func NewSnapshot(services *service.Snapshot, net *neigh.Snapshot, timeouts flow.Timeouts, tunables service.Tunables, portOf []int16, previous *Snapshot) *Snapshot {
	s := &Snapshot{Services: services, Net: net, Timeouts: timeouts, Tunables: tunables, PortOf: portOf, generation: 1}
	if previous != nil {
		s.generation = previous.generation
		if previous.Net.RouteGeneration != net.RouteGeneration || !slices.Equal(previous.PortOf, portOf) {
			s.generation = s.generation%hopRoutes + 1
		}
	}
	s.egress = make([]egress, net.Hops()+1)
	for id := range s.egress {
		s.egress[id].port = -1
		if id > 0 {
			s.egress[id] = s.newEgress(net.Hop(neigh.HopID(id)))
		}
	}
	s.secure = tunables.SecureTCP == 3
	s.targets = make([]target, len(services.Targets))
	s.servers = make([]packet.Addr, len(services.Targets))
	for i := range services.Targets {
		s.targets[i] = s.newTarget(&services.Targets[i])
		if services.Targets[i].Available {
			s.servers[i] = services.Targets[i].Addr
		}
	}
	for i := range net.Interfaces {
		outer, inner, nic := s.tags(i)
		if port := s.portOf(nic); port >= 0 {
			s.vlans = append(s.vlans, vlan{port, outer, inner, int32(i)})
		}
	}
	return s
}

func (s *Snapshot) portOf(iface int) int16 {
	if iface < 0 || iface >= len(s.PortOf) {
		return -1
	}
	return s.PortOf[iface]
}

// nic is the interface that carries a logical interface's frames.
func (s *Snapshot) nic(iface int) int {
	_, _, nic := s.tags(iface)
	return nic
}

// tags walks from a logical interface down to its NIC and gives the tags its frames carry.
func (s *Snapshot) tags(iface int) (outer, inner uint16, nic int) {
	outer, inner = packet.NoVLAN, packet.NoVLAN
	ifs := s.Net.Interfaces
	for range 3 {
		f := &ifs[iface]
		if f.Parent == iface || f.Parent < 0 || f.Parent >= len(ifs) {
			break
		}
		outer, inner = f.VLAN, outer
		iface = f.Parent
	}
	return outer, inner, iface
}

func (s *Snapshot) newEgress(h *neigh.Hop) egress {
	e := egress{port: -1, iface: int32(h.Interface)}
	if h.Interface < 0 || h.Interface >= len(s.Net.Interfaces) {
		return e
	}
	f := &s.Net.Interfaces[h.Interface]
	outer, inner, nic := s.tags(h.Interface)
	e.port, e.mtu = s.portOf(nic), f.Longest()
	copy(e.l2[0:], h.MAC[:])
	copy(e.l2[6:], f.MAC[:])
	e.l2len = 12
	for _, id := range []uint16{outer, inner} {
		if id != packet.NoVLAN {
			binary.BigEndian.PutUint16(e.l2[e.l2len:], packet.EtherVLAN)
			binary.BigEndian.PutUint16(e.l2[e.l2len+2:], id)
			e.l2len += 4
		}
	}
	e.link = linkAddrs{binary.NativeEndian.Uint64(e.l2[:]), uint64(binary.NativeEndian.Uint32(e.l2[8:]))}
	e.ok = h.Resolved && e.port >= 0
	return e
}

func (s *Snapshot) newTarget(t *service.Target) target {
	n := target{
		addr: t.Addr, source: t.Source, hop: t.Hop, tunPort: t.TunPort, method: t.Method, tunnel: t.Tunnel, tunSum: t.TunSum,
		avail: t.Available, port: -1,
	}
	if s.Tunables.BackupOnly || !t.Available || t.Kind != service.TargetUnicast || int(t.Hop) >= len(s.egress) || !s.egress[t.Hop].ok {
		return n
	}
	e := &s.egress[t.Hop]
	n.link = e.link
	n.port, n.tagged, n.mtu = e.port, e.l2len != 12, t.MTU
	limit := int(t.MTU)
	if t.Method == service.Tunnel {
		limit -= modes.Overhead(t.Family == 6, t.Tunnel, t.TunSum)
		if limit < 68 || t.Family == 6 && limit < 1280 {
			limit = 0
		}
		if n.plain = t.Tunnel == service.IPIP && t.Addr.Is4() && t.Source.Is4() && !n.tagged; n.plain {
			n.outer = modes.NewOuter4(t.Source, t.Addr)
		}
	}
	n.limit = uint32(max(limit, 0))
	return n
}

// reach says how packets get to a connection's server: as the server's slot has it resolved, or by the routes.
func (s *Snapshot) reach(slot uint32, addr packet.Addr) neigh.Result {
	if t := s.target(slot); t.port >= 0 && t.addr == addr {
		return neigh.Result{
			Kind: neigh.Unicast, Hop: neigh.HopID(t.hop), Interface: int(s.egress[t.hop].iface), MTU: t.mtu, Source: t.source,
		}
	}
	return s.Net.Route(addr)
}

// target is a server's, or an empty one if the number is not in the snapshot.
func (s *Snapshot) target(slot uint32) *target {
	if int(slot) < len(s.targets) {
		return &s.targets[slot]
	}
	return &noTarget
}

var noTarget = target{port: -1}

// ifaceOf is the logical interface that a frame arrived on, -1 if there is none for its tag.
func (s *Snapshot) ifaceOf(port int, p *packet.Parsed) int {
	for i := range s.vlans {
		v := &s.vlans[i]
		if int(v.port) == port && v.outer == p.VLAN && v.inner == p.VLAN2 {
			return int(v.iface)
		}
	}
	return -1
}

// put writes the link header in front of the IP packet at buf[l3:] and returns where the frame begins. There is room
// enough: every frame has ring.Headroom.
//
//fastlb:hot
func (e *egress) put(buf []byte, l3 int, v6 bool) int {
	start := l3 - int(e.l2len) - 2
	h := buf[start:l3]
	if e.l2len == 12 {
		_ = h[13]
		binary.NativeEndian.PutUint64(h, binary.NativeEndian.Uint64(e.l2[:]))
		binary.NativeEndian.PutUint32(h[8:], binary.NativeEndian.Uint32(e.l2[8:]))
	} else {
		copy(h, e.l2[:e.l2len])
	}
	if v6 {
		h[len(h)-2], h[len(h)-1] = 0x86, 0xdd
	} else {
		h[len(h)-2], h[len(h)-1] = 0x08, 0x00
	}
	return start
}
