package worker

import (
	"bytes"
	"testing"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

// The longest datagrams there can be go through in the pieces they came in: 65535 bytes with IPv4's header, and behind IPv6's.
// A tunnel's headers leave no room in a packet for them; then nothing is sent.
func TestLongestDatagrams(t *testing.T) {
	for _, c := range []struct {
		name, client, vip, server string
		method                    service.Method
		payload                   int
		goes                      bool
	}{
		{"IPv4", "192.0.2.7", "10.8.0.100", "10.2.0.11", service.NAT, 65507, true},
		{"IPv6", "2001:db8::7", "fd00:8::100", "fd00:2::11", service.NAT, 65527, true},
		{"IPv6 DR", "2001:db8::7", "fd00:8::100", "fd00:2::11", service.DR, 65527, true},
		{"IPv4 in IPv4", "192.0.2.7", "10.8.0.100", "10.2.0.11", service.Tunnel, 65487, true},
		{"IPv4 in IPv4, a byte more", "192.0.2.7", "10.8.0.100", "10.2.0.11", service.Tunnel, 65488, false},
		{"IPv6 in IPv6", "2001:db8::7", "fd00:8::100", "fd00:2::11", service.Tunnel, 65487, true},
		{"IPv6 in IPv6, a byte more", "2001:db8::7", "fd00:8::100", "fd00:2::11", service.Tunnel, 65488, false},
		{"IPv6 in IPv4", "2001:db8::7", "fd00:8::100", "10.2.0.11", service.Tunnel, 65467, true},
		{"IPv6 in IPv4, a byte more", "2001:db8::7", "fd00:8::100", "10.2.0.11", service.Tunnel, 65468, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newChainRig(t, ring.MaxSegments)
			r.mtu("c0", 9000)
			r.mtu("r0", 9000)
			r.service(packet.ProtoUDP, c.vip, 80, c.method, c.server)
			f := udp(c.client, 4000, c.vip, 80, c.payload)
			pieces := cut(f, 8000)
			for _, p := range pieces {
				r.giveCut(0, p, nil)
			}
			r.workers[0].Round(r.now)
			out, _ := r.takeWhole()
			if !c.goes {
				if len(out) != 0 {
					t.Errorf("%d packets were sent, want none", len(out))
				}
				r.reason(perf.Oversize, 1)
				r.account()
				return
			}
			var data []byte
			for _, o := range out {
				head := 34
				if o.frame[14]>>4 == 6 {
					head = 62
				}
				data = append(data, o.frame[head:]...)
			}
			if !bytes.HasSuffix(data, f[len(f)-c.payload:]) {
				t.Errorf("%d packets with %d bytes of data were sent, not the datagram of %d bytes", len(out), len(data), c.payload)
			}
			if c.method != service.Tunnel && len(out) != len(pieces) {
				t.Errorf("%d packets were sent, want %d as they came", len(out), len(pieces))
			}
			r.account()
		})
	}
}
