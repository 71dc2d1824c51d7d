package twin

import "net/netip"

// tunnel is a server's kind of tunnel. The zero value is IPIP.
type tunnel struct {
	kind string // "", "ipip", "gre", "gue"
	port uint16 // GUE: destination port
	sum  bool   // with a checksum
}

const (
	protoGRE = 47

	// gueSource is the source port of all GUE packets: which one a flow has is the director's choice.
	gueSource = 32768
)

// overhead is what stands between the outer IP header and the packet, in bytes.
func (t *tunnel) overhead() int {
	switch {
	case t.kind == "gue":
		return 12
	case t.kind == "gre" && t.sum:
		return 8
	case t.kind == "gre":
		return 4
	}
	return 0
}

// wrap puts the headers before a packet that go between it and the outer IP header (forwarding.md 6.4, 6.5), and gives the
// number that stands in the latter.
func (t *tunnel) wrap(p *ip, src, dst netip.Addr) (proto int, b []byte) {
	proto = protoIPIP
	if p.v6 {
		proto = protoIPv6
	}
	b = append(make([]byte, t.overhead()), p.raw...)
	switch t.kind {
	case "gue":
		be.PutUint16(b, gueSource)
		be.PutUint16(b[2:], t.port)
		be.PutUint16(b[4:], uint16(len(b)))
		b[9] = byte(proto)
		if t.sum {
			s := ^fold(words(b) + pseudo(&ip{src: src, dst: dst}, protoUDP, len(b)))
			if s == 0 {
				s = 0xffff
			}
			be.PutUint16(b[6:], s)
		}
		return protoUDP, b
	case "gre":
		be.PutUint16(b[2:], 0x0800)
		if p.v6 {
			be.PutUint16(b[2:], 0x86dd)
		}
		if t.sum {
			b[0] = 0x80
			be.PutUint16(b[4:], sum(b))
		}
		return protoGRE, b
	}
	return proto, b
}
