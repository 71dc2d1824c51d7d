package worker

import (
	"net/netip"
	"testing"

	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// fail makes a neighbour one whose resolution failed.
func (r *rig) fail(addr string) {
	r.t.Helper()
	a := netip.MustParseAddr(addr)
	if err := r.net.SetNeighbor(a, [6]byte{2}); err != nil {
		r.t.Fatal(err)
	}
	s := r.net.Snapshot()
	h := s.Hop(s.HopOf(s.Route(packet.AddrFrom(a)).Interface, packet.AddrFrom(a)))
	h.Resolved, h.Failed = false, true
	r.publish()
}

// The error about a held packet waits itself while the way back to the client is not resolved either.
func TestErrorIsHeld(t *testing.T) {
	r := newRig(t, 1)
	r.service(service.TCP, "10.9.0.1", 80, service.DR, "10.2.0.13")
	for port := uint16(1000); port < 1003; port++ {
		r.in(0, tcp("10.8.0.77", port, "10.9.0.1", 80, packet.SYN, 0))
	}
	r.fail("10.2.0.13")
	r.workers[0].Round(r.now)
	r.reason(perf.NoNeighbor, 3)
	if err := r.net.SetNeighbor(netip.MustParseAddr("10.8.0.77"), macC1); err != nil {
		t.Fatal(err)
	}
	r.publish()
	r.workers[0].Round(r.now)
	if out := r.take(0); len(out) != 3 || out[0].frame[34] != icmpUnreachable {
		t.Errorf("sent %d errors once the client was known", len(out))
	}
	r.account()
}

// A reassembled packet asks for its next hop and waits for it like others, and no more of them than holdWhole.
func TestHoldReassembled(t *testing.T) {
	for _, f := range families {
		r := newRig(t, 1)
		server := map[string]string{"IPv4": "10.2.0.13", "IPv6": "fd00:2::13"}[f.name]
		r.service(service.UDP, f.vip, 53, service.NAT, server)
		send := func(n int) {
			for i := range n {
				for _, p := range cut(udp(f.client, uint16(1000+i), f.vip, 53, 3000), 1400) {
					if out := r.in(0, p); len(out) != 0 {
						t.Fatalf("%s: sent %d", f.name, len(out))
					}
				}
			}
		}
		send(holdWhole + 1)
		if len(r.asked) != 1 {
			t.Errorf("%s: asked for %v", f.name, r.asked)
		}
		r.reason(perf.NeighborQueueFull, 3)
		if err := r.net.SetNeighbor(netip.MustParseAddr(server), [6]byte{2, 0, 0, 0, 2, 0x13}); err != nil {
			t.Fatal(err)
		}
		r.publish()
		r.workers[0].Round(r.now)
		if out := r.take(0); len(out) != 3*holdWhole {
			t.Errorf("%s: sent %d fragments after the answer", f.name, len(out))
		}
		for _, d := range r.workers[0].reasm.places {
			if d.used {
				t.Errorf("%s: a place is still taken", f.name)
			}
		}
	}
}

// What may be fragmented is cut to the route's MTU, also where the link takes more.
func TestRouteMTU(t *testing.T) {
	r := newRigOf(t, 1, 4096, neigh.StaticRoute{To: netip.MustParsePrefix("10.2.0.11/32"), Interface: "r0", MTU: 1000})
	r.service(service.UDP, "10.9.0.1", 53, service.DR, "10.2.0.11")
	out := r.in(0, udp("10.1.0.1", 1000, "10.9.0.1", 53, 1400))
	if len(out) != 2 {
		t.Errorf("sent %d packets, want 2 fragments", len(out))
	}
	for _, s := range out {
		if len(s.frame) > 1014 {
			t.Errorf("a frame of %d bytes", len(s.frame))
		}
	}
	r.account()
}
