package twin

import "testing"

// TestSequences runs random sequences through the twin alone: counts must stay consistent, nothing may be left when
// everything expired, and every frame sent must be well formed.
func TestSequences(t *testing.T) {
	for seed := range uint64(400) {
		tw := New(site())
		events := sequence(nil, seed, 120)
		verdicts := map[Verdict]int{}
		for i, e := range events {
			if e.command != "" {
				_ = tw.Command(e.at, e.command)
			} else {
				o := tw.Receive(e.at, e.nic, e.frame)
				verdicts[o.Verdict]++
				for _, s := range o.Sent {
					checkSent(t, tw, s)
				}
			}
			if p := tw.Problems(); p != nil {
				t.Fatalf("seed %d, event %d, %v: %v", seed, i, e, p)
			}
		}
		tw.Advance(events[len(events)-1].at + 3600*second)
		if n := len(tw.conns) + len(tw.held); n != 0 {
			t.Fatalf("seed %d: %d connections and datagrams outlive an hour", seed, n)
		}
		for _, c := range tw.Counts() {
			if c.Server.IsValid() && c.Active+c.Inactive != 0 {
				t.Fatalf("seed %d: %v, but nothing is left", seed, c)
			}
		}
	}
}

// checkSent verifies what every frame on the wire must have: lengths and checksums, and the size of its link.
func checkSent(t *testing.T, tw *Twin, s Sent) {
	t.Helper()
	l3, _ := linkHeader(s.Frame)
	p, why := decode(s.Frame[l3:])
	if why != 0 || p == nil {
		t.Fatalf("sent a malformed frame %x: %v", s.Frame, why)
	}
	if len(p.raw) != len(s.Frame)-l3 {
		t.Fatalf("sent a frame with padding: %x", s.Frame)
	}
	mtu := uint32(0)
	for _, f := range tw.cfg.Interfaces { // VLANs may be wider than what they lie on
		if f.Parent == s.Interface {
			mtu = max(mtu, f.MTU)
		}
	}
	if len(p.raw) > int(mtu) {
		t.Fatalf("sent %d bytes where the MTU is %d", len(p.raw), mtu)
	}
	if s.Made && (p.proto == protoICMP || p.proto == protoICMP6) && !goodSum(p) {
		t.Fatalf("sent an ICMP error with a wrong checksum: %x", s.Frame)
	}
}
