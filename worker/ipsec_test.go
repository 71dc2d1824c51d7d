package worker

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// raw builds a frame of any protocol.
func raw(src, dst string, proto uint8, body []byte) []byte {
	f := udp(src, 0, dst, 0, len(body)-8)
	packet4 := f[14]>>4 == 4
	copy(f[len(f)-len(body):], body)
	if packet4 {
		f[14+9] = proto
		packet.SetHeaderChecksum(f[14:])
	} else {
		f[14+6] = proto
	}
	return f
}

// AH and ESP follow the IKE connection of their ends (spec/connections.md 2.3), and but for an address nothing of them is
// changed.
func TestIPsec(t *testing.T) {
	body := []byte("\x12\x34\x56\x78\x00\x00\x00\x01 whatever is behind")
	for _, f := range families {
		for _, proto := range []uint8{packet.ProtoESP, packet.ProtoAH} {
			for _, method := range []service.Method{service.NAT, service.DR, service.Tunnel} {
				t.Run(fmt.Sprint(f.name, " ", proto, " ", method), func(t *testing.T) {
					r := newRig(t, 1)
					r.service(service.UDP, f.vip, 500, method, f.server)
					in := raw(f.client, f.vip, proto, body)
					if out := r.in(0, in); len(out) != 0 || len(r.passed) != 1 {
						t.Fatal("without a connection it is not the kernel's")
					}
					r.in(0, udp(f.client, 500, f.vip, 500, 30))
					r.now += 299 * clock.Second
					out := r.in(0, in)
					if len(out) != 1 || out[0].port != 1 || [6]byte(out[0].frame) != [6]byte{2, 0, 0, 0, 2, 0x11} {
						t.Fatalf("sent %d", len(out))
					}
					r.checkIPsec(out[0].frame, f.client, map[service.Method]string{service.NAT: f.server, service.DR: f.vip}[method], proto, body)
					r.now += 299 * clock.Second // 598 s after IKE's: the timer was set anew
					if r.workers[0].Round(r.now); r.flows.Len() != 1 {
						t.Error("the timer was not set anew")
					}
					want := service.Stats{Conns: 1, InPkts: 2, InBytes: uint64(len(udp(f.client, 500, f.vip, 500, 30)) + len(in) - 28)}
					if method == service.NAT {
						out = r.in(1, raw(f.server, f.client, proto, body))
						if len(out) != 1 || out[0].port != 0 {
							t.Fatalf("sent %d", len(out))
						}
						r.checkIPsec(out[0].frame, f.vip, f.client, proto, body)
						want.OutPkts, want.OutBytes = 1, uint64(len(in)-14)
					}
					if got := r.counters.Sum(1); got != want {
						t.Errorf("counted %+v, want %+v", got, want)
					}
					r.account()
				})
			}
		}
	}
}

// checkIPsec looks at a packet that was sent; dst "" is in a tunnel.
func (r *rig) checkIPsec(f []byte, src, dst string, proto uint8, body []byte) {
	r.t.Helper()
	k, p := r.check(f)
	if p.TTL != 63 || !bytes.HasSuffix(f, body) {
		r.t.Errorf("TTL %d, % x", p.TTL, f)
	}
	if dst != "" && (k.Src != ip(src) || k.Dst != ip(dst) || k.Proto != proto || p.Kind != packet.OtherProto) {
		r.t.Errorf("%v to %v", k.Src.Netip(), k.Dst.Netip())
	}
}

// The rules of forwarding hold: TTL, MTU, a server that was removed, an address that nobody answers for.
func TestIPsecLimits(t *testing.T) {
	r := newRig(t, 1)
	id := r.service(service.UDP, "10.9.0.1", 500, service.NAT, "10.2.0.11")
	r.in(0, udp("10.1.0.1", 500, "10.9.0.1", 500, 30))
	f := raw("10.1.0.1", "10.9.0.1", packet.ProtoESP, make([]byte, 100))
	f[14+8] = 1
	packet.SetHeaderChecksum(f[14:])
	r.in(0, f)
	r.reason(perf.TTLExceeded, 1)
	f = raw("10.1.0.1", "10.9.0.1", packet.ProtoESP, make([]byte, 1500))
	f[14+6] = 0x40
	packet.SetHeaderChecksum(f[14:])
	r.in(0, f)
	r.reason(perf.TooBig, 1)
	if err := r.table.DeleteServer(id, service.ServerID{Addr: netip.MustParseAddr("10.2.0.11"), Port: 500}); err != nil {
		t.Fatal(err)
	}
	r.publish()
	r.in(0, raw("10.1.0.1", "10.9.0.1", packet.ProtoESP, make([]byte, 100)))
	r.reason(perf.ServerRemoved, 1)
	r.tunables.ExpireNoDest = true
	r.publish()
	r.in(0, raw("10.1.0.1", "10.9.0.1", packet.ProtoESP, make([]byte, 100)))
	r.reason(perf.PassProtocol, 1)
	if r.flows.Len() != 0 {
		t.Error("the connection without a server remains")
	}
	r.account()
}

// An error about a packet whose server did not resolve quotes it as its sender sent it.
func TestIPsecUnresolved(t *testing.T) {
	for _, c := range []struct{ client, vip, server string }{
		{"10.1.0.1", "10.9.0.1", "10.2.0.77"}, {"fd00:1::1", "fd00:9::1", "fd00:2::77"},
	} {
		r := newRig(t, 1)
		r.service(service.UDP, c.vip, 500, service.NAT, c.server)
		r.in(0, udp(c.client, 500, c.vip, 500, 30))
		f := raw(c.client, c.vip, packet.ProtoESP, []byte("\x12\x34\x56\x78\x00\x00\x00\x01 whatever"))
		if out := r.in(0, f); len(out) != 0 || len(r.asked) == 0 {
			t.Fatal("it was not held")
		}
		r.now += 4 * clock.Second
		r.workers[0].Round(r.now)
		out := r.take(0)
		if len(out) != 2 {
			t.Fatalf("%d errors", len(out))
		}
		ttl := 22
		if f[14]>>4 == 6 {
			ttl = 21
		}
		f[ttl]-- // as the kernel does, the quote has been through a router
		if f[14]>>4 == 4 {
			packet.SetHeaderChecksum(f[14:])
		}
		if !bytes.HasSuffix(out[1].frame, f[14:]) {
			t.Errorf("the error quotes % x\nsent was % x", out[1].frame, f[14:])
		}
		r.account()
	}
}

// An ICMP error about ESP finds the connection, and what it quotes is translated but for ports.
func TestIPsecICMP(t *testing.T) {
	r := newRig(t, 1)
	r.service(service.UDP, "10.9.0.1", 500, service.NAT, "10.2.0.11")
	r.in(0, udp("10.1.0.1", 500, "10.9.0.1", 500, 30))
	spi := []byte("\x12\x34\x56\x78\x00\x00\x00\x01")
	quote := raw("10.1.0.1", "10.2.0.11", packet.ProtoESP, spi)[14:]
	icmp := append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, quote...)
	c := packet.Sum(0).AddBytes(icmp).Checksum()
	icmp[2], icmp[3] = byte(c>>8), byte(c)
	out := r.in(1, raw("10.2.0.11", "10.1.0.1", packet.ProtoICMP, icmp))
	if len(out) != 1 || out[0].port != 0 {
		t.Fatalf("sent %d", len(out))
	}
	k, p := r.check(out[0].frame)
	inner := out[0].frame[int(p.L4)+8:]
	if k.Src != ip("10.9.0.1") || packet.AddrFrom4(inner[16:20]) != ip("10.9.0.1") || !bytes.HasSuffix(inner, spi) {
		t.Errorf("from %v: % x", k.Src.Netip(), inner)
	}
	r.account()
}
