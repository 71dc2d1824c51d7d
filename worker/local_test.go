package worker

import (
	"bytes"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// A real server that is the director itself: with DR and tunnels the packet goes to the local stack as it came, TTL and
// all; with NAT it goes there rewritten, TTL and all (spec/forwarding.md 7). Both are counted and tracked.
func TestLocalServer(t *testing.T) {
	for _, method := range []service.Method{service.DR, service.Tunnel, service.NAT} {
		t.Run(method.String(), func(t *testing.T) {
			r := newRig(t, 1)
			r.service(service.TCP, "10.9.0.1", 80, method, "10.8.0.1")
			f := tcp("10.1.0.1", 1000, "10.9.0.1", 80, packet.SYN, 0)
			if out := r.in(0, f); len(out) != 0 || len(r.passed) != 1 {
				t.Fatalf("sent %d, passed %d", len(out), len(r.passed))
			}
			got := append(append([]byte{}, f[:14]...), r.passed[0].ip...)
			k, p := r.check(got)
			if p.TTL != 64 || k.Src != ip("10.1.0.1") {
				t.Errorf("passed %v with TTL %d", k, p.TTL)
			}
			if method != service.NAT && !bytes.Equal(got, f) {
				t.Errorf("passed %x, came as %x", got, f)
			}
			if method == service.NAT && k.Dst != ip("10.8.0.1") {
				t.Errorf("passed to %v", k.Dst)
			}
			r.reason(perf.PassLocal, 1)
			if s := r.counters.Sum(1); s.Conns != 1 || s.InPkts != 1 {
				t.Errorf("counted %+v", s)
			}
			r.account()
		})
	}
}

// Errors to one destination: six at once, then one a second, as the kernel's icmp_ratelimit has it; frag needed is exempt.
func TestICMPRateLimit(t *testing.T) {
	r := newRig(t, 1)
	r.workers[0].limiter.enabled = true
	r.service(service.TCP, "10.9.0.1", 80, service.NAT, "10.2.0.11")
	r.in(0, tcp("10.1.0.1", 1000, "10.9.0.1", 80, packet.SYN, 0))
	dying := tcp("10.1.0.1", 1000, "10.9.0.1", 80, packet.ACK, 0)
	dying[14+8] = 1
	packet.SetHeaderChecksum(dying[14:])
	long := tcp("10.1.0.1", 1000, "10.9.0.1", 80, packet.ACK, 1500)
	long[14+6] = 0x40
	packet.SetHeaderChecksum(long[14:])
	errors := func(f []byte, times int) (n int) {
		for range times {
			n += len(r.in(0, f))
		}
		return n
	}
	if n := errors(dying, 10); n != 6 {
		t.Errorf("%d errors at once", n)
	}
	if n := errors(long, 10); n != 10 {
		t.Errorf("%d of 10 told of the MTU", n)
	}
	r.now += 3 * clock.Second
	if n := errors(dying, 10); n != 3 {
		t.Errorf("%d errors after three seconds", n)
	}
}
