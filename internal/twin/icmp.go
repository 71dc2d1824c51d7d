package twin

import (
	"net/netip"

	"github.com/fastlb/fastlb/perf"
)

// message is a kind of ICMP error that the director makes: type and code for IPv4 and IPv6.
type message struct{ type4, code4, type6, code6 byte }

var (
	timeExceeded    = message{11, 0, 3, 0}
	tooBig          = message{3, 4, 2, 0}
	unreachableHost = message{3, 1, 1, 3}
	unreachablePort = message{3, 3, 1, 4}
)

// refuse drops a packet and, where that is allowed, tells its sender why (forwarding.md 5.1). source is the error's source
// address; the zero value means the address chosen by the route to the sender.
func (t *Twin) refuse(p *ip, reason perf.Reason, m message, mtu int, source netip.Addr) Outcome {
	o := Outcome{Verdict: Drop, Reason: reason}
	t.made = 0
	if isError(p) || p.src.IsUnspecified() || p.src.IsMulticast() || p.src.IsLoopback() || p.src == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return o
	}
	to, ok := t.route(p.src)
	if !ok {
		return o
	}
	if !source.IsValid() {
		source = to.source
	}
	e := &ip{v6: p.v6, src: source, dst: p.src, ttl: 64}
	body := make([]byte, 8)
	if p.v6 {
		body[0], body[1] = m.type6, m.code6
		be.PutUint32(body[4:], uint32(mtu))
		body = append(body, p.raw[:min(len(p.raw), 1280-48)]...)
		h := make([]byte, 40)
		h[0], h[6], h[7] = 0x60, protoICMP6, 64
		be.PutUint16(h[4:], uint16(len(body)))
		copy(h[8:], source.AsSlice())
		copy(h[24:], p.src.AsSlice())
		be.PutUint16(body[2:], ^fold(words(body)+pseudo(e, protoICMP6, len(body))))
		e.raw, e.head, e.proto = append(h, body...), 40, protoICMP6
	} else {
		body[0], body[1] = m.type4, m.code4
		be.PutUint16(body[6:], uint16(mtu))
		body = append(body, p.raw[:min(len(p.raw), min(576, to.mtu)-28)]...)
		be.PutUint16(body[2:], sum(body))
		h := make([]byte, 20)
		h[0], h[1], h[8], h[9] = 0x45, byte(p.tos)&0x1e|0xc0, 64, protoICMP
		be.PutUint16(h[2:], uint16(20+len(body)))
		be.PutUint16(h[4:], t.id())
		copy(h[12:], source.AsSlice())
		copy(h[16:], p.src.AsSlice())
		headerSum(h)
		e.raw, e.head, e.proto = append(h, body...), 20, protoICMP
	}
	t.made = len(e.raw)
	if to.solved {
		o.Sent = t.send(e, to, e).Sent
	}
	return o
}

// isError tells whether a packet is an ICMP error, about which none is sent.
func isError(p *ip) bool {
	l4 := p.raw[p.head:]
	switch {
	case p.v6 && p.proto == protoICMP6:
		return len(l4) == 0 || l4[0] < 128
	case !p.v6 && p.proto == protoICMP:
		return len(l4) == 0 || l4[0] == 3 || l4[0] == 4 || l4[0] == 5 || l4[0] == 11 || l4[0] == 12
	}
	return false
}

// icmp handles ICMP: errors about a connection are forwarded, everything else is the kernel's (connections.md 9).
func (t *Twin) icmp(p *ip) Outcome {
	pass := Outcome{Verdict: Pass, Reason: perf.PassICMP}
	l4 := p.raw[p.head:]
	if len(l4) < 8 {
		return pass
	}
	related := l4[0] == 3 || l4[0] == 4 || l4[0] == 11
	if p.v6 {
		related = l4[0] < 128
	}
	if !related {
		return pass
	}
	in := embedded(l4[8:], p.v6)
	if in == nil {
		return pass
	}
	sport, dport, _ := in.ports()
	src, dst := netip.AddrPortFrom(in.src, sport), netip.AddrPortFrom(in.dst, dport)
	if c := t.findOut(in.proto, dst, src); c != nil {
		return t.icmpOut(p, c)
	}
	if c := t.findIn(in.proto, dst, src); c != nil {
		if c.method == "nat" && !goodSum(p) {
			return Outcome{Verdict: Drop, Reason: perf.BadICMPChecksum}
		}
		c.count(false, len(p.raw))
		return t.transmit(p, c, true)
	}
	return pass
}

// icmpOut forwards an error from the server's side to the client.
func (t *Twin) icmpOut(p *ip, c *conn) Outcome {
	if c.method != "nat" {
		t.Disputed = append(t.Disputed, "ICMP error about a packet to a DR or tunnel server")
	}
	to, out := t.forwardable(p)
	if out != nil {
		return *out
	}
	if c.method == "nat" && !goodSum(p) {
		return Outcome{Verdict: Drop, Reason: perf.BadICMPChecksum}
	}
	q := p.clone()
	lowerTTL(q)
	if c.method == "nat" {
		rewriteAbout(q, c.virtual, true)
	}
	c.count(true, len(p.raw))
	return t.send(q, to, nil)
}

// embedded decodes the quoted packet of an ICMP error: as far as the ports, or nil.
func embedded(b []byte, v6 bool) *ip {
	if v6 {
		if len(b) < 40 || b[0]>>4 != 6 {
			return nil
		}
		p := &ip{raw: b, v6: true, proto: int(b[6]), head: 40}
		p.src, p.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		for p.proto == 0 || p.proto == 43 || p.proto == 60 || p.proto == 44 {
			if len(b) < p.head+8 {
				return nil
			}
			n := 8
			if p.proto == 44 {
				if be.Uint16(b[p.head+2:])&^7 != 0 {
					return nil
				}
			} else {
				n += int(b[p.head+1]) * 8
			}
			p.proto, p.head = int(b[p.head]), p.head+n
		}
		return p.withPorts()
	}
	if len(b) < 20 || b[0]>>4 != 4 || b[0]&15 < 5 || be.Uint16(b[6:])&0x1fff != 0 {
		return nil
	}
	p := &ip{raw: b, proto: int(b[9]), head: int(b[0]&15) * 4}
	p.src, p.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	return p.withPorts()
}

func (p *ip) withPorts() *ip {
	if _, _, ok := p.ports(); !ok || p.proto != protoTCP && p.proto != protoUDP {
		return nil
	}
	return p
}

// goodSum verifies an ICMP checksum.
func goodSum(p *ip) bool {
	l4 := p.raw[p.head:]
	if p.v6 {
		return fold(words(l4)+pseudo(p, protoICMP6, len(l4))) == 0xffff
	}
	return sum(l4) == 0
}

// rewriteAbout translates an ICMP error and the packet it quotes. From the server's side (source) the outer source and the
// quoted destination change, else the outer destination and the quoted source.
func rewriteAbout(p *ip, to netip.AddrPort, source bool) {
	in := embedded(p.raw[p.head+8:], p.v6)
	n := len(to.Addr().AsSlice())
	copy(p.raw[addressAt(p.v6, source):][:n], to.Addr().AsSlice())
	copy(in.raw[addressAt(p.v6, !source):][:n], to.Addr().AsSlice())
	portAt := in.head
	if source {
		p.src = to.Addr()
		portAt += 2
	} else {
		p.dst = to.Addr()
	}
	be.PutUint16(in.raw[portAt:], to.Port())
	l4 := p.raw[p.head:]
	l4[2], l4[3] = 0, 0
	if p.v6 {
		be.PutUint16(l4[2:], ^fold(words(l4)+pseudo(p, protoICMP6, len(l4))))
		return
	}
	headerSum(p.raw)
	headerSum(in.raw)
	be.PutUint16(l4[2:], sum(l4))
}
