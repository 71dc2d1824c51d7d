package neigh

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/packet"
)

// StaticConfig describes a network that nobody follows: that of a replay, or of a test.
type StaticConfig struct {
	Interfaces []StaticInterface
	Neighbors  map[netip.Addr][6]byte
	Routes     []StaticRoute
}

// StaticInterface is one interface. Its addresses imply connected routes and local addresses.
type StaticInterface struct {
	Name      string
	Parent    string // of a VLAN: the interface that carries it
	VLAN      uint16
	MAC       [6]byte
	MTU       uint32 // 0: the parent's, or 1500
	Limit     uint32 // Interface.Limit; 0: the parent's, or none
	Addresses []netip.Prefix
}

// StaticRoute is one route: through a gateway, on an interface, or both; or, with a Kind other than Unicast and
// Unreachable, one that drops. A route with neither gateway nor interface makes the prefix unreachable.
type StaticRoute struct {
	To        netip.Prefix
	Via       netip.Addr
	Interface string
	MTU       uint32
	Source    netip.Addr
	Kind      Kind
}

// DefaultMTU is an Ethernet's, in bytes.
const DefaultMTU = 1500

// Static is a network that changes only when told to.
type Static struct {
	b         *Builder
	byName    map[string]int
	neighbors map[netip.Addr][6]byte
	snapshot  *Snapshot
}

// NewStatic checks the description and returns its network; all faults are reported.
func NewStatic(cfg StaticConfig) (*Static, error) {
	s := &Static{b: NewBuilder(), byName: map[string]int{}, neighbors: maps.Clone(cfg.Neighbors)}
	if s.neighbors == nil {
		s.neighbors = map[netip.Addr][6]byte{}
	}
	var faults []error
	list := make([]Interface, len(cfg.Interfaces))
	parent := make([]int, len(cfg.Interfaces))
	for i, c := range cfg.Interfaces {
		if _, ok := s.byName[c.Name]; ok {
			faults = append(faults, fmt.Errorf("interface %s: given twice", c.Name))
		}
		s.byName[c.Name] = i
	}
	for i, c := range cfg.Interfaces {
		list[i] = Interface{Name: c.Name, VLAN: c.VLAN, MAC: c.MAC, MTU: c.MTU, Limit: c.Limit, Addrs: c.Addresses, Up: true}
		parent[i] = i
		if c.Parent != "" {
			p, ok := s.byName[c.Parent]
			if !ok || p == i {
				faults = append(faults, fmt.Errorf("interface %s: no interface %q to be its parent", c.Name, c.Parent))
				continue
			}
			parent[i] = p
			if list[i].MTU == 0 {
				list[i].MTU = cfg.Interfaces[p].MTU
			}
			if list[i].Limit == 0 {
				list[i].Limit = cfg.Interfaces[p].Limit
			}
			if list[i].MAC == ([6]byte{}) {
				list[i].MAC = cfg.Interfaces[p].MAC
			}
		}
		if list[i].MTU == 0 {
			list[i].MTU = DefaultMTU
		}
	}
	at := s.b.SetInterfaces(list, parent)
	for name, i := range s.byName {
		s.byName[name] = at[i]
	}
	routes := s.connected(cfg.Interfaces)
	s.b.SetRoutes(routes) // for finding the interfaces of gateways
	links := s.b.Snapshot()
	for _, r := range cfg.Routes {
		route, err := s.route(links, r)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		routes = append(routes, route)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.b.SetRoutes(routes)
	s.publish()
	return s, nil
}

// connected returns the routes that the interfaces' addresses imply.
func (s *Static) connected(list []StaticInterface) []Route {
	var out []Route
	for _, c := range list {
		vias := []Via{{Interface: s.byName[c.Name]}}
		linkLocal := false
		for _, p := range c.Addresses {
			a := p.Addr().Unmap()
			host := netip.PrefixFrom(a, a.BitLen())
			out = append(out, Route{Dst: host, Local: true, Kind: LocalAddr, Vias: vias})
			linkLocal = linkLocal || a.Is6()
			if p.Bits() == a.BitLen() {
				continue
			}
			out = append(out, Route{Dst: p.Masked(), Kind: Unicast, Vias: vias})
			if a.Is4() && p.Bits() < 31 {
				out = append(out, Route{Dst: netip.PrefixFrom(lastAddr(p), 32), Local: true, Kind: Blackhole})
			}
		}
		if linkLocal {
			out = append(out, Route{Dst: netip.MustParsePrefix("fe80::/64"), Kind: Unicast, Metric: 256, Vias: vias})
		}
	}
	out = append(out, Route{Dst: netip.MustParsePrefix("127.0.0.0/8"), Local: true, Kind: LocalAddr},
		Route{Dst: netip.MustParsePrefix("::1/128"), Local: true, Kind: LocalAddr})
	return out
}

// lastAddr is the broadcast address of an IPv4 prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

func (s *Static) route(links *Snapshot, r StaticRoute) (Route, error) {
	out := Route{Dst: r.To.Masked(), Kind: r.Kind, MTU: r.MTU, Source: r.Source}
	if !r.To.IsValid() {
		return out, errors.New("route without a destination")
	}
	if r.Kind == Blackhole || r.Kind == LocalAddr {
		return out, nil
	}
	if !r.Via.IsValid() && r.Interface == "" {
		out.Kind = Unreachable
		return out, nil
	}
	out.Kind = Unicast
	v := Via{Gateway: r.Via}
	if r.Interface != "" {
		i, ok := s.byName[r.Interface]
		if !ok {
			return out, fmt.Errorf("route to %v: no interface %q", r.To, r.Interface)
		}
		v.Interface = i
	} else {
		res := links.Route(packet.AddrFrom(r.Via))
		if res.Kind != Unicast {
			return out, fmt.Errorf("route to %v: gateway %v is on no interface's network; give one of the interfaces an address beside it", r.To, r.Via)
		}
		v.Interface = res.Interface
	}
	out.Vias = []Via{v}
	return out, nil
}

// Snapshot returns the network as it is now; the same one until something changes.
func (s *Static) Snapshot() *Snapshot { return s.snapshot }

// SetMTU changes an interface's MTU, in bytes.
func (s *Static) SetMTU(name string, mtu uint32) error {
	i, ok := s.byName[name]
	if !ok {
		return fmt.Errorf("no interface %q", name)
	}
	if mtu < 68 {
		return fmt.Errorf("interface %s: MTU %d is below the least that IP knows, 68", name, mtu)
	}
	s.b.SetMTU(i, mtu)
	s.publish()
	return nil
}

// SetNeighbor changes or adds a neighbour.
func (s *Static) SetNeighbor(addr netip.Addr, mac [6]byte) error {
	if !addr.IsValid() {
		return errors.New("neighbor without an address")
	}
	s.neighbors[addr] = mac
	s.publish()
	return nil
}

// publish makes the snapshot. A neighbour stands on the interface on whose network it is; one that is on none, or is
// link-local, on every interface, to be used wherever a route leads to it.
func (s *Static) publish() {
	links := s.b.Snapshot()
	for _, a := range slices.SortedFunc(maps.Keys(s.neighbors), netip.Addr.Compare) {
		mac := s.neighbors[a]
		res := links.Route(packet.AddrFrom(a))
		if !a.IsLinkLocalUnicast() && res.Kind == Unicast && res.Next == a.Unmap() {
			s.b.Resolve(res.Interface, a, mac)
			continue
		}
		for i := range links.Interfaces {
			s.b.Resolve(i, a, mac)
		}
	}
	s.snapshot = s.b.Snapshot()
}
