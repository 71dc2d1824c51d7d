package twin

import "net/netip"

// frameSpec describes an Ethernet frame for tests.
type frameSpec struct {
	to, from [6]byte
	vlans    []uint16
	src, dst netip.AddrPort
	proto    int // protoTCP, protoUDP, or any other with body as what follows the IP header
	flags    int
	seq, ack uint32
	size     int // of the payload
	body     []byte
	ttl, tos int // 0 means 64, 0; -1 means 0
	id       int
	df       bool
	options  []byte // IPv4, a multiple of 4
	extra    []byte // IPv6: an extension header; its first byte is its own number, replaced by the next one's
	sum      string // "": right; "zero"; "bad"
}

// build makes the frame.
func build(s frameSpec) []byte {
	l4 := s.transport()
	return s.frame(s.header(s.proto, l4))
}

// transport makes what follows the IP header.
func (s frameSpec) transport() []byte {
	l4 := s.body
	at := 0
	switch s.proto {
	case protoTCP:
		l4 = make([]byte, 20+s.size)
		be.PutUint32(l4[4:], s.seq)
		be.PutUint32(l4[8:], s.ack)
		l4[12], l4[13] = 0x50, byte(s.flags)
		be.PutUint16(l4[14:], 0xfaf0)
		at = 16
	case protoUDP:
		l4 = make([]byte, 8+s.size)
		be.PutUint16(l4[4:], uint16(len(l4)))
		at = 6
	default:
		return l4
	}
	be.PutUint16(l4, s.src.Port())
	be.PutUint16(l4[2:], s.dst.Port())
	for i := len(l4) - s.size; i < len(l4); i++ {
		l4[i] = byte(i * 7)
	}
	p := &ip{src: s.src.Addr(), dst: s.dst.Addr()}
	v := ^fold(words(l4) + pseudo(p, s.proto, len(l4)))
	switch {
	case s.sum == "zero" && s.proto == protoUDP:
		v = 0
	case s.sum == "bad":
		v ^= 0x5555
	case s.proto == protoUDP && v == 0:
		v = 0xffff
	}
	be.PutUint16(l4[at:], v)
	return l4
}

// header puts the IP header in front of l4.
func (s frameSpec) header(proto int, l4 []byte) []byte {
	ttl := s.ttl
	switch ttl {
	case 0:
		ttl = 64
	case -1:
		ttl = 0
	}
	if s.src.Addr().Is4() {
		h := make([]byte, 20, 60)
		h = append(h, s.options...)
		h[0], h[1], h[8], h[9] = 0x40|byte(len(h)/4), byte(s.tos), byte(ttl), byte(proto)
		be.PutUint16(h[2:], uint16(len(h)+len(l4)))
		be.PutUint16(h[4:], uint16(s.id))
		if s.df {
			h[6] = 0x40
		}
		copy(h[12:], s.src.Addr().AsSlice())
		copy(h[16:], s.dst.Addr().AsSlice())
		headerSum(h)
		return append(h, l4...)
	}
	h := make([]byte, 40)
	be.PutUint16(h, 0x6000|uint16(s.tos)<<4)
	be.PutUint16(h[4:], uint16(len(l4)))
	h[6], h[7] = byte(proto), byte(ttl)
	copy(h[8:], s.src.Addr().AsSlice())
	copy(h[24:], s.dst.Addr().AsSlice())
	if len(s.extra) > 0 {
		x := append([]byte(nil), s.extra...)
		h[6], x[0] = x[0], byte(proto)
		h = append(h, x...)
		be.PutUint16(h[4:], uint16(len(x)+len(l4)))
	}
	return append(h, l4...)
}

// frame puts the link header in front of an IP packet.
func (s frameSpec) frame(packet []byte) []byte {
	from := s.from
	if from == [6]byte{} {
		from = [6]byte{2, 0, 0, 0, 0xee, 1}
	}
	f := append(append([]byte(nil), s.to[:]...), from[:]...)
	for _, v := range s.vlans {
		f = be.AppendUint16(append(f, 0x81, 0), v)
	}
	if packet[0]>>4 == 6 {
		f = append(f, 0x86, 0xdd)
	} else {
		f = append(f, 8, 0)
	}
	return append(f, packet...)
}
