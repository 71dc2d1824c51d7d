package neigh

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/fastlb/fastlb/packet"
)

var (
	macA = [6]byte{2, 0, 0, 0, 0, 0xa}
	macB = [6]byte{2, 0, 0, 0, 0, 0xb}
)

func site(t testing.TB) *Static {
	t.Helper()
	s, err := NewStatic(StaticConfig{
		Interfaces: []StaticInterface{
			{Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, Addresses: []netip.Prefix{
				netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}},
			{Name: "eth1", MTU: 9000, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/16"), netip.MustParsePrefix("10.1.0.1/24")}},
			{Name: "eth0.100", Parent: "eth0", VLAN: 100, Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/24")}},
		},
		Neighbors: map[netip.Addr][6]byte{
			netip.MustParseAddr("10.0.0.11"):   macA,
			netip.MustParseAddr("192.0.2.254"): macB,
		},
		Routes: []StaticRoute{
			{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.254")},
			{To: netip.MustParsePrefix("198.51.100.0/24"), Via: netip.MustParseAddr("10.0.0.254"), MTU: 1400},
			{To: netip.MustParsePrefix("198.51.100.128/25"), Kind: Blackhole},
			{To: netip.MustParsePrefix("203.0.113.0/24")},
			{To: netip.MustParsePrefix("203.0.113.7/32"), Interface: "eth1", Source: netip.MustParseAddr("10.1.0.1")},
			{To: netip.MustParsePrefix("2001:db8:1::/48"), Via: netip.MustParseAddr("fe80::2"), Interface: "eth0"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func TestRoute(t *testing.T) {
	s := site(t).Snapshot()
	for _, c := range []struct {
		dst    string
		kind   Kind
		iface  string
		next   string
		mac    [6]byte
		mtu    uint32
		source string
	}{
		{"192.0.2.1", LocalAddr, "eth0", "192.0.2.1", [6]byte{}, 1500, "192.0.2.1"},
		{"127.3.4.5", LocalAddr, "eth0", "127.3.4.5", [6]byte{}, 0, "127.3.4.5"},
		{"::1", LocalAddr, "eth0", "::1", [6]byte{}, 0, "::1"},
		{"192.0.2.77", Unicast, "eth0", "192.0.2.77", [6]byte{}, 1500, "192.0.2.1"},
		{"192.0.2.255", Blackhole, "", "", [6]byte{}, 0, ""},
		{"255.255.255.255", Blackhole, "", "", [6]byte{}, 0, ""},
		{"239.1.2.3", Blackhole, "", "", [6]byte{}, 0, ""},
		{"ff02::1", Blackhole, "", "", [6]byte{}, 0, ""},
		{"8.8.8.8", Unicast, "eth0", "192.0.2.254", macB, 1500, "192.0.2.1"},
		{"10.0.0.11", Unicast, "eth1", "10.0.0.11", macA, 9000, "10.0.0.1"},
		{"10.1.0.9", Unicast, "eth1", "10.1.0.9", [6]byte{}, 9000, "10.0.0.1"},
		{"10.2.0.9", Unicast, "eth0.100", "10.2.0.9", [6]byte{}, 1500, "10.2.0.1"},
		{"198.51.100.1", Unicast, "eth1", "10.0.0.254", [6]byte{}, 1400, "10.0.0.1"},
		{"198.51.100.129", Blackhole, "", "", [6]byte{}, 0, ""},
		{"203.0.113.6", Unreachable, "", "", [6]byte{}, 0, ""},
		{"203.0.113.7", Unicast, "eth1", "203.0.113.7", [6]byte{}, 9000, "10.1.0.1"},
		{"203.0.113.8", Unreachable, "", "", [6]byte{}, 0, ""},
		{"2001:db8::9", Unicast, "eth0", "2001:db8::9", [6]byte{}, 1500, "2001:db8::1"},
		{"2001:db8:1:2::9", Unicast, "eth0", "fe80::2", [6]byte{}, 1500, "2001:db8::1"},
		{"2001:db8:2::9", Unreachable, "", "", [6]byte{}, 0, ""},
	} {
		r := s.Route(addr(c.dst))
		want := Result{Kind: c.kind, MTU: c.mtu}
		if c.iface != "" {
			want.Interface, _ = s.InterfaceByName(c.iface)
			want.Next, want.Source = netip.MustParseAddr(c.next), addr(c.source)
		}
		hop := s.Hop(r.Hop)
		r.Hop = 0
		if r != want {
			t.Errorf("route to %s: %+v, want %+v", c.dst, r, want)
		}
		if hop.MAC != c.mac || hop.Resolved != (c.mac != [6]byte{}) {
			t.Errorf("route to %s: hop %+v, want %x", c.dst, *hop, c.mac)
		}
	}
	if i, _ := s.InterfaceByName("eth0.100"); s.Interfaces[i].Parent != 0 || s.Interfaces[i].VLAN != 100 {
		t.Errorf("eth0.100: %+v", s.Interfaces[i])
	}
}

func TestStaticChanges(t *testing.T) {
	s := site(t)
	before := s.Snapshot()
	id := before.Route(addr("10.0.0.11")).Hop
	if err := s.SetNeighbor(netip.MustParseAddr("10.0.0.11"), macB); err != nil {
		t.Fatal(err)
	}
	if err := s.SetNeighbor(netip.MustParseAddr("10.0.0.254"), macA); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMTU("eth0", 1280); err != nil {
		t.Fatal(err)
	}
	now := s.Snapshot()
	if r := now.Route(addr("10.0.0.11")); r.Hop != id || now.Hop(id).MAC != macB {
		t.Errorf("10.0.0.11: hop %d %+v, want number %d with the new MAC", r.Hop, *now.Hop(r.Hop), id)
	}
	if before.RouteGeneration == now.RouteGeneration || site(t).Snapshot().Generation == 0 {
		t.Error("the MTU changed and the generation of routes did not")
	}
	if before.Hop(id).MAC != macA {
		t.Error("an old snapshot changed")
	}
	if r := now.Route(addr("198.51.100.1")); now.Hop(r.Hop).MAC != macA {
		t.Errorf("gateway: %+v", *now.Hop(r.Hop))
	}
	if r := now.Route(addr("8.8.8.8")); r.MTU != 1280 {
		t.Errorf("MTU %d", r.MTU)
	}
	if s.SetMTU("eth9", 1500) == nil || s.SetMTU("eth0", 60) == nil || s.SetNeighbor(netip.Addr{}, macA) == nil {
		t.Error("a bad change was taken")
	}
}

func TestStaticFaults(t *testing.T) {
	for name, c := range map[string]StaticConfig{
		"given twice": {Interfaces: []StaticInterface{{Name: "a"}, {Name: "a"}}},
		"no parent":   {Interfaces: []StaticInterface{{Name: "a.1", Parent: "a"}}},
		"own parent":  {Interfaces: []StaticInterface{{Name: "a", Parent: "a"}}},
		"gateway":     {Routes: []StaticRoute{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1")}}},
		"interface":   {Routes: []StaticRoute{{To: netip.MustParsePrefix("0.0.0.0/0"), Interface: "eth0"}}},
		"destination": {Routes: []StaticRoute{{}}},
	} {
		if _, err := NewStatic(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestInterfacesKeepTheirPlaces(t *testing.T) {
	b := NewBuilder()
	b.SetInterfaces([]Interface{{Name: "a", Index: 5, Up: true}, {Name: "b", Index: 6, Up: true}}, []int{0, 1})
	id := b.Want(1, netip.MustParseAddr("10.0.0.2"))
	b.SetRoutes([]Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Kind: Unicast, Vias: []Via{{Interface: 0, Gateway: netip.MustParseAddr("10.9.9.9")}, {Interface: 1, Gateway: netip.MustParseAddr("10.0.0.2"), Weight: 3}}}})
	// a goes, b is renamed, c comes
	at := b.SetInterfaces([]Interface{{Name: "c", Index: 9, Up: true}, {Name: "bb", Index: 6, Up: true}}, []int{0, 1})
	if at[0] != 2 || at[1] != 1 {
		t.Fatalf("positions %v, want 2, 1", at)
	}
	s := b.Snapshot()
	if !s.Interfaces[0].Gone || s.Interfaces[1].Name != "bb" {
		t.Errorf("interfaces %+v", s.Interfaces)
	}
	for i := range 64 { // every destination takes the path that is left
		if r := s.Route(packet.AddrFrom4([]byte{9, 9, 9, byte(i)})); r.Hop != id {
			t.Fatalf("hop %d, want %d", r.Hop, id)
		}
	}
	if at := b.SetInterfaces([]Interface{{Name: "a", Index: 12, Up: true}, {Name: "bb", Index: 6}}, []int{0, 1}); at[0] != 0 {
		t.Errorf("a came back at %d, want its old place", at[0])
	}
	if b.Fail(1, netip.MustParseAddr("10.0.0.77")) || !b.Fail(1, netip.MustParseAddr("10.0.0.2")) || !b.Snapshot().Hop(id).Failed {
		t.Error("failure not noted")
	}
	if !b.Forget(1, netip.MustParseAddr("10.0.0.2")) || b.Snapshot().Hop(id).Failed {
		t.Error("failure not forgotten")
	}
}

func TestMultipathSpreads(t *testing.T) {
	b := NewBuilder()
	b.SetInterfaces([]Interface{{Name: "a", Up: true}}, []int{0})
	gw := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	b.SetRoutes([]Route{{Dst: netip.MustParsePrefix("::/0"), Kind: Unicast, Vias: []Via{{Gateway: gw[0], Weight: 1}, {Gateway: gw[1], Weight: 3}}}})
	s := b.Snapshot()
	n := map[netip.Addr]int{}
	for i := range 4096 {
		n[s.Route(packet.AddrFrom(netip.AddrFrom16([16]byte{0x20, 1, 14: byte(i >> 8), 15: byte(i)}))).Next]++
	}
	if n[gw[0]] < 800 || n[gw[0]] > 1250 || n[gw[0]]+n[gw[1]] != 4096 {
		t.Errorf("spread %v, want about 1:3", n)
	}
}

func TestRouteAllocatesNothing(t *testing.T) {
	s := site(t).Snapshot()
	for _, a := range []string{"10.0.0.11", "8.8.8.8", "192.0.2.1", "2001:db8::9", "2001:db8:1::1", "203.0.113.1"} {
		d := addr(a)
		if n := testing.AllocsPerRun(100, func() { s.Route(d) }); n != 0 {
			t.Errorf("route to %s: %v allocations", a, n)
		}
	}
}

// twin is the look-up as the definition says it: every prefix is tried, the longest wins, then the lowest metric.
func twin(routes []Route, a netip.Addr) *Route {
	for _, local := range []bool{true, false} {
		var best *Route
		for i := range routes {
			r := &routes[i]
			if r.Local != local || !r.Dst.Contains(a) {
				continue
			}
			if best == nil || r.Dst.Bits() > best.Dst.Bits() || r.Dst.Bits() == best.Dst.Bits() && r.Metric < best.Metric {
				best = r
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// compare builds a network of n random routes around a few addresses, so that prefixes nest, and compares.
func compare(t *testing.T, seed uint64, n int) {
	r := rand.New(rand.NewPCG(seed, 1))
	random := func() netip.Addr {
		if r.IntN(2) == 0 {
			b := [4]byte{10, byte(r.IntN(3)), byte(r.Uint32() & 0x81), byte(r.Uint32())}
			if r.IntN(8) == 0 {
				b = [4]byte{byte(r.Uint32()) & 0x7f, 255, 255, 255}
			}
			return netip.AddrFrom4(b)
		}
		b := [16]byte{0x20, 1, 5: byte(r.IntN(2)), 7: byte(r.Uint32() & 0x81), 8: byte(r.IntN(2)), 15: byte(r.Uint32())}
		if r.IntN(8) == 0 {
			b = [16]byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		}
		return netip.AddrFrom16(b)
	}
	b := NewBuilder()
	b.SetInterfaces([]Interface{{Name: "a", Up: true, MTU: 1500}}, []int{0})
	routes := make([]Route, n)
	for i := range routes {
		a := random()
		p := netip.PrefixFrom(a, r.IntN(a.BitLen()+1)).Masked()
		routes[i] = Route{Dst: p, Local: r.IntN(5) == 0, Kind: Unicast, Metric: uint32(r.IntN(2)),
			Vias: []Via{{Gateway: netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})}}}
	}
	b.SetRoutes(routes)
	s := b.Snapshot()
	for range 200 {
		a := random()
		got, want := s.Route(packet.AddrFrom(a)), twin(routes, a)
		switch {
		case want == nil && got.Kind != Unreachable, want != nil && (got.Kind != Unicast || got.Next != want.Vias[0].Gateway):
			t.Fatalf("seed %d: route to %v: %+v, want %+v", seed, a, got, want)
		}
	}
}

func TestRouteAgainstTwin(t *testing.T) {
	for seed := range uint64(60) {
		compare(t, seed, int(seed))
	}
}

func FuzzRoute(f *testing.F) {
	f.Add(uint64(1), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) { compare(t, seed, int(n)) })
}

func BenchmarkRoute(b *testing.B) {
	s := site(b).Snapshot()
	d := addr("10.0.0.11")
	for b.Loop() {
		s.Route(d)
	}
}
