package xdp

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

func testRules() *Rules {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	r := &Rules{}
	r.AddService(service.TCP, addr("192.0.2.10"), 80)
	r.AddService(service.UDP, addr("192.0.2.10"), 53)
	r.AddService(service.SCTP, addr("192.0.2.10"), 99)
	r.AddService(service.TCP, addr("2001:db8::10"), 80)
	r.AddService(service.UDP, addr("192.0.2.20"), 0) // any port
	r.AddService(service.TCP, addr("192.0.2.21"), 21)
	r.AddServer(service.TCP, addr("10.0.0.11"), 8080)
	r.AddServer(service.TCP, addr("fd00::11"), 8080)
	r.AddServer(0, addr("10.0.0.12"), 0)
	r.AddFTPServer(addr("10.0.0.21"), 21)
	r.AddFTPServer(addr("10.0.0.22"), 521)
	r.AddFTPServer(addr("fd00::21"), 21)
	r.AddTunnel(addr("10.0.0.31"), service.IPIP, 0)
	r.AddTunnel(addr("10.0.0.32"), service.GRE, 0)
	r.AddTunnel(addr("10.0.0.33"), service.GUE, 5555)
	r.AddTunnel(addr("fd00::31"), service.IPIP, 0)
	r.AddMark(prefix("198.51.100.0/24"), service.TCP, 80, 443)
	r.AddMark(prefix("198.51.100.64/26"), service.UDP)
	r.AddMark(prefix("198.51.0.0/16"), 0, 7)
	r.AddMark(prefix("2001:db8:5::/48"), 0)
	return r
}

const (
	client, client6 = "203.0.113.7", "2001:db8:f::7"
	vip, vip6       = "192.0.2.10", "2001:db8::10"
	server, server6 = "10.0.0.11", "fd00::11"
	own, own6       = "192.0.2.1", "2001:db8::1" // the director's own addresses
	tcp, udp, sctp  = 6, 17, 132
)

func TestDiff(t *testing.T) {
	if _, c := diff(testRules().tables(), testRules().tables()); c.Any() {
		t.Errorf("equal rules differ: %+v", c)
	}
	var empty Rules
	full := testRules().tables()
	_, c := diff(empty.tables(), full)
	if want := len(full.entries) + len(full.marks); c.Added != want || c.Changed != 0 || c.Removed != 0 {
		t.Errorf("from nothing: %+v, want %d added", c, want)
	}
	more := testRules()
	more.AddServer(service.TCP, netip.MustParseAddr("192.0.2.10"), 80) // a VIP that is a server too: its address changes
	if _, c := diff(full, more.tables()); c != (Changes{Added: 1, Changed: 1}) {
		t.Errorf("one more server: %+v", c)
	}
}

// Whatever the two states, their difference leads from one to the other, and what is in both is never taken away.
func TestDiffLeadsThere(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		from, to := randomRules(r).tables(), randomRules(r).tables()
		d, _ := diff(from, to)
		entries, marks := maps.Clone(from.entries), maps.Clone(from.marks)
		maps.Copy(entries, d.putEntries)
		maps.Copy(marks, d.putMarks)
		for k, v := range to.entries {
			if entries[k]&v != v {
				t.Fatalf("before anything is removed, %+v is %d instead of %d", k, entries[k], v)
			}
		}
		for _, k := range d.dropMarks {
			delete(marks, k)
		}
		for _, k := range d.dropEntries {
			delete(entries, k)
		}
		if !maps.Equal(entries, to.entries) || !maps.Equal(marks, to.marks) || (!d.setFeatures && from.features != to.features) {
			t.Fatal("the difference does not lead from one to the other")
		}
	}
}

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func randomRules(r *rand.Rand) *Rules {
	rules := &Rules{}
	addr := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(6))}) }
	proto := func() uint8 { return []uint8{0, 6, 17, 132}[r.IntN(4)] }
	for range r.IntN(12) {
		switch r.IntN(5) {
		case 4:
			rules.AddFTPServer(addr(), uint16(r.IntN(3)))
		case 0:
			rules.AddService(6, addr(), uint16(r.IntN(3)))
		case 1:
			rules.AddServer(proto(), addr(), uint16(r.IntN(3)))
		case 2:
			rules.AddTunnel(addr(), service.TunnelType(r.IntN(3)), 5555)
		case 3:
			ports := make([]uint16, r.IntN(3))
			for i := range ports {
				ports[i] = uint16(r.IntN(4))
			}
			rules.AddMark(netip.PrefixFrom(addr(), 24+r.IntN(9)), proto(), ports...)
		}
	}
	return rules
}

// The compiled marks say of every packet what the list of ranges says.
func TestMarksAgainstList(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		rules := randomRules(r)
		tb := rules.tables()
		for range 50 {
			dst := netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(256))})
			p, port := protocols[r.IntN(3)], uint16(r.IntN(5))
			want := false
			for _, m := range rules.marks {
				match := len(m.ports) == 0
				for _, x := range m.ports {
					match = match || x == port
				}
				want = want || match && m.to.Contains(dst) && m.protos&p.bit != 0
			}
			if got := lookupMark(tb, dst, p.number, p.bit, port); got != want {
				t.Fatalf("%v port %d proto %d: %v, want %v, in %+v", dst, port, p.number, got, want, rules.marks)
			}
		}
	}
}

// lookupMark is what steer.c does with the tables.
func lookupMark(tb tables, dst netip.Addr, proto uint8, bit steerProtoBit, port uint16) bool {
	for bits := 32; bits >= 0; bits-- {
		v, ok := tb.marks[markKey(netip.PrefixFrom(dst, bits).Masked())]
		if !ok {
			continue
		}
		k := ruleKey(netip.IPv6Unspecified(), port, proto, steerRuleKindKIND_MARK)
		k.Addr.B = [16]byte{byte(v.Set), byte(v.Set >> 8), byte(v.Set >> 16), byte(v.Set >> 24)}
		return v.All&bit != 0 || v.Some&bit != 0 && tb.entries[k] != 0
	}
	return false
}

func TestFromSnapshot(t *testing.T) {
	addr := netip.MustParseAddr
	server := func(a string, port uint16, m service.Method, kind service.TunnelType, tunPort uint32) *service.Server {
		return &service.Server{Addr: packet.AddrFrom(addr(a)), Port: port, Family: 4,
			Forward: uint32(m) | uint32(kind)<<8, TunPort: tunPort}
	}
	web := &service.Service{Number: 1, Spec: service.Spec{ID: service.ID{Family: 4, Protocol: service.TCP, Addr: addr("192.0.2.10"), Port: 80}},
		Servers: []*service.Server{
			server("10.0.0.11", 8080, service.NAT, 0, 0), server("10.0.0.12", 80, service.DR, 0, 0),
			server("10.0.0.13", 80, service.Tunnel, service.GUE, 5555),
		}}
	files := &service.Service{Number: 3, Spec: service.Spec{ID: service.ID{Family: 4, Protocol: service.TCP, Addr: addr("192.0.2.10"), Port: 21}},
		Servers: []*service.Server{server("10.0.0.15", 2121, service.NAT, 0, 0), server("10.0.0.16", 21, service.DR, 0, 0)}}
	marked := &service.Service{Number: 2, Spec: service.Spec{ID: service.ID{Family: 4, Mark: 7}},
		Servers: []*service.Server{server("10.0.0.14", 0, service.NAT, 0, 0), server("10.0.0.17", 21, service.NAT, 0, 0)}}
	kept := &service.Service{Number: 4, Spec: service.Spec{ID: service.ID{Family: 4, Protocol: service.TCP, Addr: addr("192.0.2.11")}, Persistent: true},
		Servers: []*service.Server{server("10.0.0.20", 8080, service.NAT, 0, 0)}}
	keptMark := &service.Service{Number: 5, Spec: service.Spec{ID: service.ID{Family: 4, Mark: 9}, Persistent: true},
		Servers: []*service.Server{server("10.0.0.21", 8080, service.NAT, 0, 0)}}
	s := service.NewSnapshot([]*service.Service{web, marked, files, kept, keptMark}, []service.Mark{
		{Mark: 7, Destination: netip.MustParsePrefix("198.51.100.0/24"), Ports: []uint16{80}},
		{Mark: 7, Protocol: service.UDP},                                 // any destination: IPv4 only, as the service
		{Mark: 7, Destination: netip.MustParsePrefix("2001:db8::/32")},   // of the wrong family
		{Mark: 8, Destination: netip.MustParsePrefix("198.51.100.0/24")}, // without a service
	})
	s.Targets = []service.Target{{}, {Addr: packet.AddrFrom(addr("10.0.0.11")), Port: 8080, Service: 1, Method: service.NAT, Available: true},
		{Addr: packet.AddrFrom(addr("10.0.0.19")), Port: 8080, Service: 1, Method: service.NAT}} // removed

	want := &Rules{}
	want.AddService(service.TCP, addr("192.0.2.10"), 80)
	want.AddServer(service.TCP, addr("10.0.0.11"), 8080)
	want.AddServer(service.TCP, addr("10.0.0.19"), 8080)
	want.AddServer(0, addr("10.0.0.14"), 0)
	want.AddServer(0, addr("10.0.0.17"), 21)
	want.AddFTPServer(addr("10.0.0.17"), 21)
	want.AddService(service.TCP, addr("192.0.2.10"), 21)
	want.AddService(service.TCP, addr("192.0.2.11"), 0)
	want.AddServer(service.TCP, addr("10.0.0.20"), 0)
	want.AddServer(service.TCP, addr("10.0.0.20"), 8080)
	want.AddServer(0, addr("10.0.0.21"), 0)
	want.AddServer(0, addr("10.0.0.21"), 8080)
	want.AddFTPServer(addr("10.0.0.15"), 2121)
	want.AddTunnel(addr("10.0.0.13"), service.GUE, 5555)
	want.AddMark(netip.MustParsePrefix("198.51.100.0/24"), 0, 80)
	want.AddMark(netip.MustParsePrefix("0.0.0.0/0"), service.UDP)
	if d, c := diff(want.tables(), FromSnapshot(s).tables()); c.Any() {
		t.Errorf("differs from what is wanted: %+v: %+v", c, d)
	}
	if _, c := diff(tables{}, FromSnapshot(nil).tables()); c.Any() {
		t.Errorf("no snapshot: %+v", c)
	}
}
