package xdp

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/fastlb/fastlb/service"
)

// Rules is what the program shall take. It is plain data: built anew from the desired state at every change, and brought
// into the maps by its difference to what is there (Programs.Update). The zero value takes nothing.
type Rules struct {
	entries map[steerRuleKey]steerAddressFlag
	marks   []markRule
}

// markRule is one range of a mark, normalised: a valid prefix, and balanced protocols only.
type markRule struct {
	to     netip.Prefix
	protos steerProtoBit
	ports  []uint16 // empty: any
}

// AddService takes what goes to a virtual service, and fragments to its address. Port 0 is any port.
func (r *Rules) AddService(proto uint8, addr netip.Addr, port uint16) {
	r.add(ruleKey(addr, port, proto, steerRuleKindKIND_SERVICE), steerAddressFlagADDRESS_SERVICE)
	r.add(ruleKey(addr, 0, 0, steerRuleKindKIND_ADDRESS), steerAddressFlagADDRESS_SERVICE)
}

// AddServer takes what comes from a real server of a NAT service, and fragments from its address. Port 0 is any port,
// protocol 0 any that is balanced.
func (r *Rules) AddServer(proto uint8, addr netip.Addr, port uint16) {
	for _, p := range protocols {
		if proto == 0 || proto == p.number {
			r.add(ruleKey(addr, port, p.number, steerRuleKindKIND_SERVER), steerAddressFlagADDRESS_SERVER)
		}
	}
	r.add(ruleKey(addr, 0, 0, steerRuleKindKIND_ADDRESS), steerAddressFlagADDRESS_SERVER)
}

// AddFTPServer takes besides what AddServer does the data connections of a NAT server whose FTP is on a port: those that
// it begins, which come from the port before, and those that it accepts, on any port that is not privileged.
func (r *Rules) AddFTPServer(addr netip.Addr, port uint16) {
	r.AddServer(service.TCP, addr, port)
	if port > 1 {
		r.AddServer(service.TCP, addr, port-1)
	}
	r.add(ruleKey(addr, 0, 0, steerRuleKindKIND_ADDRESS), steerAddressFlagADDRESS_FTP)
}

// AddTunnel takes ICMP errors about the tunnel to a server. port is GUE's.
func (r *Rules) AddTunnel(addr netip.Addr, kind service.TunnelType, port uint16) {
	put := func(proto uint8, port uint16) {
		r.add(ruleKey(addr, port, proto, steerRuleKindKIND_TUNNEL), steerAddressFlagADDRESS_SERVER)
	}
	switch kind {
	case service.IPIP: // 4 carries IPv4, 41 carries IPv6
		put(4, 0)
		put(41, 0)
	case service.GRE:
		put(47, 0)
	case service.GUE:
		put(service.UDP, port)
	}
}

// AddMark takes what goes to a mark's range. Protocol 0 is any that is balanced, no ports are any port. Ranges may overlap.
func (r *Rules) AddMark(to netip.Prefix, proto uint8, ports ...uint16) {
	m := markRule{to: to.Masked(), ports: ports}
	for _, p := range protocols {
		if proto == 0 || proto == p.number {
			m.protos |= p.bit
		}
	}
	if m.protos != 0 && m.to.IsValid() {
		r.marks = append(r.marks, m)
	}
}

// protocols that are balanced.
var protocols = []struct {
	number uint8
	bit    steerProtoBit
}{
	{service.TCP, steerProtoBitPROTO_TCP},
	{service.UDP, steerProtoBitPROTO_UDP},
	{service.SCTP, steerProtoBitPROTO_SCTP},
}

// FromSnapshot builds the rules of the published services. Removed NAT servers whose slot still serves connections are
// among them, so that their replies go on being translated.
func FromSnapshot(s *service.Snapshot) *Rules {
	r := &Rules{}
	if s == nil || !s.Enabled {
		return r
	}
	for _, v := range s.Services {
		if v.Mark != 0 {
			r.addMarks(s.Marks, v.ID)
		} else {
			r.AddService(v.Protocol, v.Addr, v.Port)
		}
		for _, d := range v.Servers {
			switch d.LoadMethod() {
			case service.NAT:
				r.addNAT(&v.Spec, d.Addr.Netip(), d.Port)
			case service.Tunnel:
				kind := service.TunnelType(atomic.LoadUint32(&d.Forward) >> 8)
				r.AddTunnel(d.Addr.Netip(), kind, uint16(atomic.LoadUint32(&d.TunPort)))
			}
		}
	}
	for _, t := range s.Targets {
		if !t.Available && t.Method == service.NAT && !t.Addr.IsZero() {
			var spec service.Spec // of a service that is gone: any
			if v := s.Service(t.Service); v != nil {
				spec = v.Spec
			}
			r.addNAT(&spec, t.Addr.Netip(), t.Port)
		}
	}
	return r
}

// portFTP is the port on which LVS looks for FTP's control connections.
const portFTP = 21

// addNAT adds a real server of a NAT service. A mark's service says nothing of the ports, so its server's own counts. Of a
// persistent one, as of a persistent service of port 0, the clients' ports are kept, whatever the server's is
// (spec/connections.md 5.3): what comes back has any port.
func (r *Rules) addNAT(s *service.Spec, addr netip.Addr, port uint16) {
	if s.Persistent && s.Port == 0 {
		r.AddServer(s.Protocol, addr, 0)
	}
	r.AddServer(s.Protocol, addr, port)
	if s.Protocol == service.TCP && s.Port == portFTP || s.Protocol == 0 && port == portFTP {
		r.AddFTPServer(addr, port)
	}
}

// addMarks adds the ranges of a mark's service, as far as they are of its family.
func (r *Rules) addMarks(marks []service.Mark, id service.ID) {
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if id.Family == 6 {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	for _, m := range marks {
		if m.Mark != id.Mark {
			continue
		}
		to := m.Destination
		if !to.IsValid() {
			to = all
		}
		if to.Addr().Is4() == all.Addr().Is4() {
			r.AddMark(to, m.Protocol, m.Ports...)
		}
	}
}

func (r *Rules) add(k steerRuleKey, f steerAddressFlag) {
	if r.entries == nil {
		r.entries = make(map[steerRuleKey]steerAddressFlag)
	}
	r.entries[k] |= f
}

// ruleKey is a key of the rules map; the port goes in in network order.
func ruleKey(addr netip.Addr, port uint16, proto uint8, kind steerRuleKind) steerRuleKey {
	k := steerRuleKey{Port: networkOrder(port), Proto: proto, Kind: kind}
	k.Addr.B = addr.As16()
	return k
}

// networkOrder is the number whose bytes in memory are v's in network order.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// tables are the contents of the maps that rules come to.
type tables struct {
	entries  map[steerRuleKey]steerAddressFlag
	marks    map[steerMarkKey]steerMarkValue
	features steerFeature
}

// tables compiles the rules. The trie gives one entry per packet, the longest prefix, so each entry holds what all
// prefixes around it say too.
func (r *Rules) tables() tables {
	t := tables{entries: make(map[steerRuleKey]steerAddressFlag, len(r.entries)), marks: make(map[steerMarkKey]steerMarkValue)}
	for k, f := range r.entries {
		t.entries[k] = f
		switch k.Kind {
		case steerRuleKindKIND_SERVICE:
			if k.Port == networkOrder(portFTP) && k.Proto == service.TCP {
				t.features |= steerFeatureFEATURE_FTP
			}
		case steerRuleKindKIND_SERVER:
			t.features |= steerFeatureFEATURE_SERVERS
		case steerRuleKindKIND_TUNNEL:
			t.features |= steerFeatureFEATURE_TUNNELS
		case steerRuleKindKIND_ADDRESS:
			if f&steerAddressFlagADDRESS_FTP != 0 {
				t.features |= steerFeatureFEATURE_FTP
			}
		}
		if k.Port == 0 && (k.Kind == steerRuleKindKIND_SERVICE || k.Kind == steerRuleKindKIND_SERVER) {
			t.features |= steerFeatureFEATURE_ANY_PORT
		}
	}
	sets := make(map[uint32]string)
	for _, m := range r.marks {
		t.features |= steerFeatureFEATURE_MARKS
		k := markKey(m.to)
		if _, done := t.marks[k]; !done {
			t.marks[k] = r.union(m.to, t.entries, sets)
		}
	}
	return t
}

// union is what all ranges that contain the prefix to say of its addresses; the ports go to entries under a set number.
func (r *Rules) union(to netip.Prefix, entries map[steerRuleKey]steerAddressFlag, sets map[uint32]string) steerMarkValue {
	var v steerMarkValue
	type member struct {
		proto uint8
		port  uint16
	}
	var members []member
	for _, m := range r.marks {
		if m.to.Bits() > to.Bits() || !m.to.Contains(to.Addr()) {
			continue
		}
		if len(m.ports) == 0 {
			v.All |= m.protos
			continue
		}
		v.Some |= m.protos
		for _, p := range protocols {
			for _, port := range m.ports {
				if m.protos&p.bit != 0 {
					members = append(members, member{p.number, port})
				}
			}
		}
	}
	if len(members) == 0 {
		return v
	}
	slices.SortFunc(members, func(a, b member) int { return int(a.proto)<<16 + int(a.port) - int(b.proto)<<16 - int(b.port) })
	members = slices.Compact(members)
	var text []byte
	for _, m := range members {
		text = binary.BigEndian.AppendUint16(append(text, m.proto), m.port)
	}
	v.Set = setNumber(string(text), sets)
	for _, m := range members {
		k := steerRuleKey{Port: networkOrder(m.port), Proto: m.proto, Kind: steerRuleKindKIND_MARK}
		binary.NativeEndian.PutUint32(k.Addr.B[:], v.Set)
		entries[k] = steerAddressFlagADDRESS_SERVICE
	}
	return v
}

// setNumber numbers a set of ports by its contents, so that the number keeps its meaning from one update to the next.
func setNumber(text string, sets map[uint32]string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(text))
	n := h.Sum32()
	for sets[n] != "" && sets[n] != text {
		n++
	}
	sets[n] = text
	return n
}

func markKey(to netip.Prefix) steerMarkKey {
	k := steerMarkKey{Prefixlen: 32 + uint32(to.Bits()), Family: 6}
	if to.Addr().Is4() {
		k.Prefixlen, k.Family = k.Prefixlen+96, 4
	}
	k.Addr.B = to.Addr().As16()
	return k
}
