package service

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/fastlb/fastlb/packet"
)

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// lookup is the order of spec/connections.md 3.2, by walking the list.
func lookup(list []*Service, mark uint32, family, proto uint8, dst packet.Addr, dport uint16) *Service {
	find := func(port uint16) *Service {
		for _, s := range list {
			if s.Mark == 0 && s.Family == family && s.Protocol == proto && s.VAddr == dst && s.Port == port {
				return s
			}
		}
		return nil
	}
	if mark != 0 {
		for _, s := range list {
			if s.Mark == mark && s.Family == family {
				return s
			}
		}
	}
	if s := find(dport); s != nil {
		return s
	}
	if proto == TCP && (dport == 20 || dport >= 1024) {
		if s := find(21); s != nil {
			return s
		}
	}
	return find(0)
}

func TestLookup(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ports := []uint16{0, 20, 21, 53, 80, 443, 1023, 1024, 5000}
	protos := []uint8{TCP, UDP, SCTP}
	ip := func(family uint8) netip.Addr {
		if family == 4 {
			return netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(4))})
		}
		return netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", r.IntN(4)))
	}
	hits := 0
	for range 200 {
		var list []*Service
		seen := map[ID]bool{}
		for range r.IntN(30) {
			id := ID{Family: 4 + 2*uint8(r.IntN(2))}
			if r.IntN(4) == 0 {
				id.Mark = 1 + uint32(r.IntN(3))
			} else {
				id.Protocol, id.Addr, id.Port = protos[r.IntN(3)], ip(id.Family), ports[r.IntN(len(ports))]
			}
			if !seen[id] {
				seen[id] = true
				list = append(list, &Service{Spec: Spec{ID: id}, Number: uint32(len(list)*2 + 1), VAddr: packet.AddrFrom(id.Addr)})
			}
		}
		s := NewSnapshot(list, nil)
		for range 200 {
			family := 4 + 2*uint8(r.IntN(2))
			mark, proto, dst, port := uint32(r.IntN(4)), protos[r.IntN(3)], packet.AddrFrom(ip(family)), ports[r.IntN(len(ports))]
			got, want := s.Lookup(mark, family, proto, dst, port), lookup(list, mark, family, proto, dst, port)
			if got != want {
				t.Fatalf("mark %d proto %d %v:%d: got %v, want %v", mark, proto, dst, port, got, want)
			}
			if got != nil {
				hits++
				if s.Service(got.Number) != got || s.Service(got.Number+1) != nil {
					t.Fatal("a service is not found by its number")
				}
			}
			has := false
			for _, v := range list {
				has = has || v.Mark == 0 && v.VAddr == dst
			}
			if s.HasAddr(dst) != has {
				t.Fatalf("HasAddr(%v) is %v", dst, !has)
			}
		}
	}
	if hits < 1000 {
		t.Errorf("only %d hits", hits)
	}
}

func TestNATServer(t *testing.T) {
	tb, _ := newTable(t, 8)
	mark := ID{Family: 4, Mark: 7}
	must(t, tb.AddService(spec(web, "first")))
	must(t, tb.AddService(spec(mark, "first")))
	must(t, tb.AddServer(web, real("10.0.0.1:8080", 1)))
	dr := real("10.0.0.2:80", 1)
	dr.Method = DR
	must(t, tb.AddServer(web, dr))
	must(t, tb.AddServer(mark, real("10.0.0.3:53", 1)))
	s := tb.Snapshot()
	for _, c := range []struct {
		proto uint8
		addr  string
		port  uint16
		want  bool
	}{
		{TCP, "10.0.0.1", 8080, true}, {UDP, "10.0.0.1", 8080, false}, {TCP, "10.0.0.1", 80, false},
		{TCP, "10.0.0.2", 80, false}, {TCP, "10.0.0.3", 53, true}, {UDP, "10.0.0.3", 53, true},
	} {
		if got := s.NATServer(c.proto, addr(c.addr), c.port); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	must(t, tb.DeleteServer(web, ServerID{netip.MustParseAddr("10.0.0.1"), 8080}))
	if tb.Snapshot().NATServer(TCP, addr("10.0.0.1"), 8080) || !s.NATServer(TCP, addr("10.0.0.1"), 8080) {
		t.Error("a removed server is in the new snapshot or not in the old one")
	}
}

func TestMarkOf(t *testing.T) {
	s := NewSnapshot(nil, []Mark{
		{Mark: 1, Destination: netip.MustParsePrefix("192.0.2.0/28"), Protocol: TCP, Ports: []uint16{80, 443}},
		{Mark: 2, Destination: netip.MustParsePrefix("192.0.2.0/28")},
		{Mark: 3, Destination: netip.MustParsePrefix("2001:db8::/33")},
		{Mark: 4, Destination: netip.MustParsePrefix("::/0"), Ports: []uint16{53}},
		{Mark: 5, Protocol: UDP},
	})
	for _, c := range []struct {
		dst   string
		proto uint8
		port  uint16
		want  uint32
	}{
		{"192.0.2.15", TCP, 443, 1}, {"192.0.2.15", TCP, 22, 2}, {"192.0.2.16", TCP, 80, 0}, {"192.0.2.0", UDP, 80, 2},
		{"2001:db8:7fff::1", TCP, 1, 3}, {"2001:db8:8000::1", TCP, 53, 4}, {"10.0.0.1", TCP, 53, 0}, {"10.0.0.1", UDP, 53, 5},
	} {
		if got := s.MarkOf(addr(c.dst), c.proto, c.port); got != c.want {
			t.Errorf("%+v: mark %d", c, got)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	tb, _ := newTable(t, 8)
	must(t, tb.AddService(spec(web, "first")))
	must(t, tb.AddServer(web, real("10.0.0.1:80", 1)))
	tb.SetMarks([]Mark{{Mark: 1, Destination: netip.MustParsePrefix("10.0.0.0/8")}})
	s := tb.Snapshot()
	dst, none := addr("192.0.2.10"), addr("192.0.2.11")
	var r Request
	if n := testing.AllocsPerRun(100, func() {
		v := s.Lookup(s.MarkOf(dst, TCP, 80), 4, TCP, dst, 80)
		v.Pick(&r)
		if s.Lookup(0, 4, TCP, none, 80) != nil || s.HasAddr(none) || s.NATServer(TCP, none, 80) {
			panic("found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	var list []*Service
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		list = append(list, &Service{Spec: Spec{ID: ID{Family: 4, Protocol: TCP, Addr: a, Port: 80}}, VAddr: packet.AddrFrom(a)})
	}
	s := NewSnapshot(list, nil)
	dst := list[500].VAddr
	for b.Loop() {
		if s.Lookup(0, 4, TCP, dst, 80) == nil {
			b.Fatal("not found")
		}
	}
}
