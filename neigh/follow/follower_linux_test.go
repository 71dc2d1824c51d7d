package follow

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
)

// site is a namespace of the test's own, and one at the far end of a veth.
type site struct {
	t        *testing.T
	near     *netlink.Handle
	far      *netlink.Handle
	a, b     netlink.Link
	follower *Follower
	changed  chan *neigh.Snapshot
	faults   chan error
}

func newSite(t *testing.T) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("FASTLB_REQUIRE_E2E") == "1" {
			t.Fatal("needs root for a network namespace")
		}
		t.Skip("needs root for a network namespace")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test, and the namespace with it
	home, err := netns.Get()
	check(t, err)
	t.Cleanup(func() { netns.Set(home); home.Close() })
	farNS, err := netns.New()
	check(t, err)
	t.Cleanup(func() { farNS.Close() })
	s := &site{t: t, changed: make(chan *neigh.Snapshot, 1024), faults: make(chan error, 64)}
	s.far, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	check(t, err)
	nearNS, err := netns.New()
	check(t, err)
	t.Cleanup(func() { nearNS.Close() })
	s.near, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	check(t, err)
	t.Cleanup(s.near.Close)
	t.Cleanup(s.far.Close)
	check(t, s.near.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a"}, PeerName: "b", PeerNamespace: netlink.NsFd(farNS)}))
	s.a, err = s.near.LinkByName("a")
	check(t, err)
	s.b, err = s.far.LinkByName("b")
	check(t, err)
	check(t, s.far.AddrAdd(s.b, parse(t, "10.0.0.2/24")))
	check(t, s.far.LinkSetUp(s.b))
	s.follower, err = Start(Options{
		Neighbors: map[netip.Addr][6]byte{netip.MustParseAddr("10.0.0.9"): {2, 0, 0, 0, 0, 9}},
		Changed:   func(n *neigh.Snapshot) { s.changed <- n },
		Fault: func(err error) {
			select {
			case s.faults <- err:
			default:
			}
		},
	})
	check(t, err)
	t.Cleanup(func() { s.follower.Close() })
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		if errors.Is(err, unix.EPERM) && os.Getenv("FASTLB_REQUIRE_E2E") != "1" {
			t.Skip("no permission for a network namespace")
		}
		t.Fatal(err)
	}
}

func parse(t *testing.T, a string) *netlink.Addr {
	t.Helper()
	out, err := netlink.ParseAddr(a)
	check(t, err)
	return out
}

// await waits for a snapshot that the condition holds for.
func (s *site) await(what string, holds func(*neigh.Snapshot) bool) *neigh.Snapshot {
	s.t.Helper()
	if n := s.follower.Snapshot(); holds(n) {
		return n
	}
	late := time.After(8 * time.Second)
	for {
		select {
		case n := <-s.changed:
			if holds(n) {
				return n
			}
		case err := <-s.faults:
			s.t.Logf("fault: %v", err)
		case <-late:
			s.t.Fatalf("%s: did not come to pass; now %+v", what, *s.follower.Snapshot())
		}
	}
}

func route(n *neigh.Snapshot, a string) neigh.Result {
	return n.Route(packet.AddrFrom(netip.MustParseAddr(a)))
}

func TestFollow(t *testing.T) {
	s := newSite(t)
	check(t, s.near.AddrAdd(s.a, parse(t, "10.0.0.1/24")))
	check(t, s.near.LinkSetUp(s.a))
	n := s.await("connected route", func(n *neigh.Snapshot) bool { return route(n, "10.0.0.2").Kind == neigh.Unicast })
	r := route(n, "10.0.0.2")
	if n.Interfaces[r.Interface].Name != "a" || r.MTU != 1500 || r.Source.String() != "10.0.0.1" || r.Next.String() != "10.0.0.2" {
		t.Errorf("route %+v", r)
	}
	if r := route(n, "10.0.0.1"); r.Kind != neigh.LocalAddr {
		t.Errorf("own address: %+v", r)
	}
	if r := route(n, "10.0.0.255"); r.Kind != neigh.Blackhole {
		t.Errorf("broadcast: %+v", r)
	}
	if r := route(n, "10.0.0.9"); n.Hop(r.Hop).MAC != [6]byte{2, 0, 0, 0, 0, 9} {
		t.Errorf("static neighbour: %+v %+v", r, n.Hop(r.Hop))
	}

	// The kernel is asked, and resolves.
	s.follower.Ask(r.Interface, r.Next)
	n = s.await("neighbour", func(n *neigh.Snapshot) bool { return n.Hop(route(n, "10.0.0.2").Hop).Resolved })
	id := route(n, "10.0.0.2").Hop
	if got := net.HardwareAddr(n.Hop(id).MAC[:]).String(); got != s.b.Attrs().HardwareAddr.String() {
		t.Errorf("MAC %s, want %v", got, s.b.Attrs().HardwareAddr)
	}
	// Its MAC changes and its number does not.
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 0x77}
	check(t, s.near.NeighSet(&netlink.Neigh{LinkIndex: s.a.Attrs().Index, IP: net.ParseIP("10.0.0.2"), HardwareAddr: mac, State: netlink.NUD_PERMANENT}))
	n = s.await("new MAC", func(n *neigh.Snapshot) bool { return n.Hop(id).MAC == [6]byte(mac) })
	if got := route(n, "10.0.0.2").Hop; got != id {
		t.Errorf("hop number %d, was %d", got, id)
	}
	// Nobody is there.
	s.follower.Ask(r.Interface, netip.MustParseAddr("10.0.0.3"))
	s.await("failure", func(n *neigh.Snapshot) bool { return n.Hop(route(n, "10.0.0.3").Hop).Failed })

	// Routes, with a metric, an MTU and a gateway.
	_, dst, _ := net.ParseCIDR("198.51.100.0/24")
	check(t, s.near.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP("10.0.0.2"), MTU: 1400}))
	n = s.await("route", func(n *neigh.Snapshot) bool { return route(n, "198.51.100.1").Kind == neigh.Unicast })
	if r := route(n, "198.51.100.1"); r.Hop != id || r.MTU != 1400 || r.Source.String() != "10.0.0.1" {
		t.Errorf("route through the gateway: %+v", r)
	}
	check(t, s.near.RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: net.IP{203, 0, 113, 0}, Mask: net.CIDRMask(24, 32)}, Type: unix.RTN_BLACKHOLE}))
	s.await("blackhole", func(n *neigh.Snapshot) bool { return route(n, "203.0.113.1").Kind == neigh.Blackhole })
	check(t, s.near.LinkSetMTU(s.a, 1300))
	s.await("MTU", func(n *neigh.Snapshot) bool { return route(n, "10.0.0.2").MTU == 1300 })

	// The link goes down, and away; nothing falls over, and the place remains.
	check(t, s.near.LinkSetDown(s.a))
	s.await("link down", func(n *neigh.Snapshot) bool { return route(n, "10.0.0.2").Kind != neigh.Unicast })
	check(t, s.near.LinkDel(s.a))
	n = s.await("link gone", func(n *neigh.Snapshot) bool { _, ok := n.InterfaceByName("a"); return !ok })
	if !n.Interfaces[r.Interface].Gone {
		t.Errorf("interfaces %+v", n.Interfaces)
	}
}

func TestFollowIPv6(t *testing.T) {
	s := newSite(t)
	a := parse(t, "2001:db8::1/64")
	a.Flags = unix.IFA_F_NODAD
	check(t, s.near.AddrAdd(s.a, a))
	check(t, s.near.LinkSetUp(s.a))
	b := parse(t, "2001:db8::2/64")
	b.Flags = unix.IFA_F_NODAD
	check(t, s.far.AddrAdd(s.b, b))
	n := s.await("connected route", func(n *neigh.Snapshot) bool {
		r := route(n, "2001:db8::2")
		return r.Kind == neigh.Unicast && r.Source.String() == "2001:db8::1"
	})
	r := route(n, "2001:db8::2")
	s.follower.Ask(r.Interface, r.Next)
	s.await("neighbour", func(n *neigh.Snapshot) bool {
		h := n.Hop(route(n, "2001:db8::2").Hop)
		if h.Failed { // the link-local address, which a solicitation comes from, was still tentative: ask again, as a worker would
			s.follower.Ask(r.Interface, r.Next)
		}
		return h.Resolved
	})
	if r := route(s.follower.Snapshot(), "2001:db8::1"); r.Kind != neigh.LocalAddr {
		t.Errorf("own address: %+v", r)
	}
}

func TestStaticNeighborsChange(t *testing.T) {
	s := newSite(t)
	check(t, s.near.AddrAdd(s.a, parse(t, "10.0.0.1/24")))
	check(t, s.near.LinkSetUp(s.a))
	s.await("static", func(n *neigh.Snapshot) bool { return n.Hop(route(n, "10.0.0.9").Hop).Resolved })
	s.follower.SetNeighbors(map[netip.Addr][6]byte{netip.MustParseAddr("10.0.0.8"): {2, 0, 0, 0, 0, 8}})
	s.await("replaced", func(n *neigh.Snapshot) bool {
		return n.Hop(route(n, "10.0.0.8").Hop).Resolved && !n.Hop(route(n, "10.0.0.9").Hop).Resolved
	})
}

// A limit of the dataplane's holds for the routes by an interface, however its MTU changes, and nothing else.
func TestLimits(t *testing.T) {
	s := newSite(t)
	check(t, s.near.AddrAdd(s.a, parse(t, "10.0.0.1/24")))
	check(t, s.near.LinkSetMTU(s.a, 9000))
	check(t, s.near.LinkSetUp(s.a))
	mtu := func(n *neigh.Snapshot) uint32 { return route(n, "10.0.0.9").MTU }
	s.await("MTU", func(n *neigh.Snapshot) bool { return mtu(n) == 9000 })
	check(t, s.follower.SetLimits(map[int]uint32{s.a.Attrs().Index: 3822, 9999: 100}))
	n := s.await("limit", func(n *neigh.Snapshot) bool { return mtu(n) == 3822 })
	i, _ := n.InterfaceByName("a")
	if f := &n.Interfaces[i]; f.MTU != 9000 || f.Longest() != 3822 {
		t.Errorf("MTU %d, longest packet %d", f.MTU, f.Longest())
	}
	check(t, s.near.LinkSetMTU(s.a, 1400))
	s.await("less than the limit", func(n *neigh.Snapshot) bool { return mtu(n) == 1400 })
	check(t, s.near.LinkSetMTU(s.a, 8000))
	s.await("more than the limit", func(n *neigh.Snapshot) bool { return mtu(n) == 3822 })
	check(t, s.follower.SetLimits(nil))
	s.await("no limit", func(n *neigh.Snapshot) bool { return mtu(n) == 8000 })
}
