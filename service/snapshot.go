package service

import (
	"sort"

	"github.com/fastlb/fastlb/packet"
)

// Service is a virtual service. The ones in a Snapshot are frozen copies; they share the scheduler with the table's own.
type Service struct {
	Spec
	Number  uint32      // unique for the life of the table, rising in the order of creation
	VAddr   packet.Addr // Spec.Addr; zero for a mark's service
	Servers []*Server   // head of the list (latest added) first; never changed in place

	picker *picker
}

// Name is the service as messages name it.
func (s *Service) Name() string { return s.ID.String() }

// TargetKind says how a server is reached.
type TargetKind uint8

const (
	TargetUnreachable TargetKind = iota // no route
	TargetUnicast                       // through Hop
	TargetLocal                         // an address of the director's own
	TargetBlackhole                     // a route that drops
)

// Target is what forwarding needs to know of a server, resolved against routes and neighbours by control.Publish.
type Target struct {
	Addr      packet.Addr // where packets go: the server's address
	Source    packet.Addr // source address of the outer header of tunnels
	Hop       uint32      // neigh.HopID; 0: the neighbour is not known yet
	Interface int32       // index into neigh.Snapshot.Interfaces
	MTU       uint32      // of the path
	Service   uint32      // number of the service that the server belongs to
	Port      uint16      // the server's port, host order; 0: the packet's
	TunPort   uint16      // GUE, host order
	Family    uint8       // of Addr: 4 or 6
	Method    Method
	Tunnel    TunnelType
	TunSum    TunnelChecksum
	Kind      TargetKind
	Available bool // linked in a service; false: removed, or the slot is free
}

// Snapshot is the immutable picture of all services that workers look things up in.
type Snapshot struct {
	Enabled  bool       // at least one service exists; else packets are not touched at all
	families [2]bool    // of IPv4, of IPv6: the kernel's hooks are per family
	Marks    []Mark     // in order: the first that matches
	Services []*Service // frozen copies in the order of creation
	Targets  []Target   // by server slot number; filled by control.Publish

	rules    []rule
	byKey    index // mark+family, or proto+addr+port → 1 + index into Services
	addrs    index // addr
	nat      index // proto+addr+port, proto 0 for servers of marks' services
	natAddrs index // addr of real servers of NAT
	engines  index // addr+port of NAT servers of services with a persistence engine → 1 + index into engined
	engined  []engined
	hasFTP   bool // a service with port 21 exists
	hasAny   bool // a service with port 0 exists
	hasFWM   bool // a mark's service exists
}

// NewSnapshot indexes services, which must not be changed afterwards.
func NewSnapshot(services []*Service, marks []Mark) *Snapshot {
	s := &Snapshot{Enabled: len(services) > 0, Marks: marks, Services: services, rules: compile(marks)}
	for i, v := range services {
		s.families[v.Family/6] = true
		s.byKey.put(v.key(), int32(i+1))
		proto := v.Protocol
		if v.Mark != 0 {
			s.hasFWM, proto = true, 0
		} else {
			s.addrs.put(key{addr: v.VAddr}, 1)
			s.hasFTP = s.hasFTP || v.Port == 21
			s.hasAny = s.hasAny || v.Port == 0
		}
		for _, d := range v.Servers {
			if d.LoadMethod() == NAT {
				if v.Engine != "" && v.Protocol == UDP && v.Port != 0 && d.Port != 0 {
					s.engined = append(s.engined, engined{v, d})
					s.engines.put(key{addr: d.Addr, port: d.Port}, int32(len(s.engined)))
				}
				s.natAddrs.put(key{addr: d.Addr}, 1)
				s.nat.put(key{addr: d.Addr, port: d.Port, proto: proto}, 1)
			}
		}
	}
	return s
}

func (s *Service) key() key {
	if s.Mark != 0 {
		return key{mark: s.Mark, family: s.Family}
	}
	return key{addr: s.VAddr, port: s.Port, proto: s.Protocol, family: s.Family}
}

// Lookup finds the service of a packet in the kernel's order (spec/connections.md 3.2): by mark, exactly, as data of an
// FTP service, by port 0. nil: none. It does not allocate.
//
//fastlb:hot
func (s *Snapshot) Lookup(mark uint32, family, proto uint8, dst packet.Addr, dport uint16) *Service {
	if mark != 0 && s.hasFWM {
		if v := s.byKey.get(&key{mark: mark, family: family}); v != 0 {
			return s.Services[v-1]
		}
	}
	k := key{addr: dst, port: dport, proto: proto, family: family}
	if v := s.byKey.get(&k); v != 0 {
		return s.Services[v-1]
	}
	if s.hasFTP && proto == TCP && (dport == 20 || dport >= 1024) {
		k.port = 21
		if v := s.byKey.get(&k); v != 0 {
			return s.Services[v-1]
		}
	}
	if s.hasAny {
		k.port = 0
		if v := s.byKey.get(&k); v != 0 {
			return s.Services[v-1]
		}
	}
	return nil
}

// Service finds a service by its number; nil: it is not there any more.
func (s *Snapshot) Service(number uint32) *Service {
	i := sort.Search(len(s.Services), func(i int) bool { return s.Services[i].Number >= number })
	if i < len(s.Services) && s.Services[i].Number == number {
		return s.Services[i]
	}
	return nil
}

// Target is how to reach the server in a slot; nil for slot numbers that the snapshot does not cover.
//
//fastlb:hot
func (s *Snapshot) Target(slot uint32) *Target {
	if slot < uint32(len(s.Targets)) {
		return &s.Targets[slot]
	}
	return nil
}

// Serves tells whether there is a service of the family (4 or 6); where there is none, its packets are not touched, those
// of connections included.
func (s *Snapshot) Serves(family uint8) bool { return s.families[family/6] }

// HasAddr tells whether dst is the address of a service.
//
//fastlb:hot
func (s *Snapshot) HasAddr(dst packet.Addr) bool { return s.addrs.get(&key{addr: dst}) != 0 }

// HasNAT tells whether a real server of NAT has the address: its fragments are the director's business.
func (s *Snapshot) HasNAT(a packet.Addr) bool {
	return s.natAddrs.n > 0 && s.natAddrs.get(&key{addr: a}) != 0
}

// engined is a server whose packets may open connections, and its service.
type engined struct {
	service *Service
	server  *Server
}

// EngineServer finds the NAT server addr:port of a UDP service with a persistence engine and a port of its own: its
// packets may open connections (spec/connections.md 6.4). nil, nil: there is none.
func (s *Snapshot) EngineServer(addr packet.Addr, port uint16) (*Service, *Server) {
	if s.engines.n == 0 {
		return nil, nil
	}
	i := s.engines.get(&key{addr: addr, port: port})
	if i == 0 {
		return nil, nil
	}
	return s.engined[i-1].service, s.engined[i-1].server
}

// NATServer tells whether addr:port is a real server of a NAT service of the protocol, or of a mark's service, which
// has them all (spec/connections.md 1.3, step 7).
func (s *Snapshot) NATServer(proto uint8, addr packet.Addr, port uint16) bool {
	if s.nat.n == 0 {
		return false
	}
	k := key{addr: addr, port: port, proto: proto}
	if s.nat.get(&k) != 0 {
		return true
	}
	k.proto = 0
	return s.hasFWM && s.nat.get(&k) != 0
}
