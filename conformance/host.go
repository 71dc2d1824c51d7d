package conformance

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/conformance/wire"
	"github.com/fastlb/fastlb/internal/scenario/frame"
)

// host is the rest of the kernel: what a director on which nothing listens does with the packets that IPVS leaves alone,
// forwarding and answers of the stack.
type host struct {
	send func(iface string, frame []byte)
}

func (h *host) handle(ip []byte) {
	ip = slices.Clone(ip)
	src, dst := endpoints(ip)
	if !own(dst) {
		h.forward(ip, src, dst)
		return
	}
	if own(src) && src.Is4() {
		return // a martian source
	}
	proto, at := transport(ip)
	l4 := ip[min(at, len(ip)):]
	switch proto {
	case 6:
		h.reset(ip, src, dst, l4)
	case 17:
		if len(l4) < 8 || (l4[6]|l4[7] != 0 || src.Is6()) && frame.Checksum(l4, frame.Pseudo(src.AsSlice(), dst.AsSlice(), 17, len(l4))) != 0 {
			return
		}
		h.unreachable(ip, 3, 3, 1, 4, 0)
	case 1, 58:
		h.echo(ip, src, dst, l4)
	default:
		pointer := uint32(6) // to the last next-header field
		if at > 40 {
			pointer = 40
		}
		h.unreachable(ip, 3, 2, 4, 1, pointer)
	}
}

func endpoints(ip []byte) (src, dst netip.Addr) {
	if ip[0]>>4 == 4 {
		src, _ = netip.AddrFromSlice(ip[12:16])
		dst, _ = netip.AddrFromSlice(ip[16:20])
	} else {
		src, _ = netip.AddrFromSlice(ip[8:24])
		dst, _ = netip.AddrFromSlice(ip[24:40])
	}
	return src, dst
}

// transport is the protocol of a packet and where its header begins, behind a destination options header too.
func transport(ip []byte) (proto uint8, at int) {
	if ip[0]>>4 == 4 {
		return ip[9], int(ip[0]&15) * 4
	}
	if ip[6] == 60 && len(ip) >= 48 {
		return ip[40], 48 + 8*int(ip[41])
	}
	return ip[6], 40
}

// own tells whether an address is the director's.
func own(a netip.Addr) bool {
	for _, f := range wire.Interfaces {
		for _, p := range f.Addresses {
			if p.Addr() == a {
				return true
			}
		}
	}
	return false
}

// forward sends a packet on its way, one hop older.
func (h *host) forward(ip []byte, src, dst netip.Addr) {
	if src.Is4() && own(src) {
		return // a martian source
	}
	if ip[0]>>4 == 4 {
		if ip[8] <= 1 {
			h.unreachable(ip, 11, 0, 3, 0, 0)
			return
		}
		ip[8]--
		copy(ip[10:], []byte{0, 0})
		binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:int(ip[0]&15)*4], 0))
	} else {
		if ip[7] <= 1 {
			h.unreachable(ip, 11, 0, 3, 0, 0)
			return
		}
		ip[7]--
	}
	h.emit(ip, dst)
}

// emit routes as the site does; nobody answers for a server that does not exist.
func (h *host) emit(ip []byte, dst netip.Addr) {
	for i := 1; i <= wire.Servers; i++ {
		if dst == wire.Server(4, i) || dst == wire.Server(6, i) {
			h.send("r0", frame.Ethernet(wire.ServerMAC(i), wire.InnerMAC, ip))
			return
		}
	}
	for _, p := range wire.Interfaces[1].Addresses {
		if p.Contains(dst) {
			return
		}
	}
	h.send("c0", frame.Ethernet(wire.ClientMAC, wire.OuterMAC, ip))
}

// answer sends what the stack says to the packet's source.
func (h *host) answer(proto uint8, src, dst netip.Addr, tos byte, df bool, body []byte) {
	if src.Is6() {
		p := make([]byte, 40)
		p[0], p[1] = 0x60|tos>>4, tos<<4
		binary.BigEndian.PutUint16(p[4:], uint16(len(body)))
		p[6], p[7] = proto, 64
		copy(p[8:], src.AsSlice())
		copy(p[24:], dst.AsSlice())
		h.emit(append(p, body...), dst)
		return
	}
	p := make([]byte, 20)
	p[0], p[1] = 0x45, tos
	binary.BigEndian.PutUint16(p[2:], uint16(20+len(body)))
	if df {
		p[6] = 0x40
	}
	p[8], p[9] = 64, proto
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(p[10:], frame.Checksum(p, 0))
	h.emit(append(p, body...), dst)
}

// reset answers a segment for which there is no socket (RFC 9293 3.10.7.1).
func (h *host) reset(ip []byte, src, dst netip.Addr, l4 []byte) {
	sum := frame.Pseudo(src.AsSlice(), dst.AsSlice(), 6, len(l4))
	if len(l4) < 20 || l4[13]&4 != 0 || frame.Checksum(l4, sum) != 0 {
		return
	}
	t := make([]byte, 20)
	copy(t, l4[2:4])
	copy(t[2:], l4[:2])
	t[12], t[13] = 0x50, 4
	if l4[13]&16 != 0 {
		copy(t[4:], l4[8:12])
	} else {
		n := uint32(len(l4) - int(l4[12]>>4)*4)
		n += uint32(l4[13]&1) + uint32(l4[13]>>1&1)
		binary.BigEndian.PutUint32(t[8:], binary.BigEndian.Uint32(l4[4:])+n)
		t[13] |= 16
	}
	binary.BigEndian.PutUint16(t[16:], frame.Checksum(t, frame.Pseudo(dst.AsSlice(), src.AsSlice(), 6, 20)))
	tos := ip[1]
	if src.Is6() {
		tos = ip[0]<<4 | ip[1]>>4
	}
	h.answer(6, dst, src, tos&^3, true, t)
}

// echo answers a ping.
func (h *host) echo(ip []byte, src, dst netip.Addr, l4 []byte) {
	if len(l4) < 8 || l4[0] != 8 && l4[0] != 128 {
		return
	}
	m := slices.Clone(l4)
	m[2], m[3] = 0, 0
	if src.Is6() {
		m[0] = 129
		binary.BigEndian.PutUint16(m[2:], frame.Checksum(m, frame.Pseudo(dst.AsSlice(), src.AsSlice(), 58, len(m))))
		h.answer(58, dst, src, ip[0]<<4|ip[1]>>4, false, m)
		return
	}
	m[0] = 0
	binary.BigEndian.PutUint16(m[2:], frame.Checksum(m, 0))
	h.answer(1, dst, src, ip[1], false, m)
}

// unreachable sends an ICMP error about the packet, of the given type and code in IPv4 and in IPv6.
func (h *host) unreachable(ip []byte, kind4, code4, kind6, code6 byte, rest6 uint32) {
	src, dst := endpoints(ip)
	proto, at := transport(ip)
	if l4 := ip[min(at, len(ip)):]; proto == 1 && (len(l4) == 0 || slices.Contains([]byte{3, 4, 5, 11, 12}, l4[0])) || proto == 58 && (len(l4) == 0 || l4[0] < 128) {
		return // no error about an error
	}
	if !own(dst) { // it was on its way: the answer comes from the interface
		f := wire.Interfaces[0]
		if wire.Interfaces[1].Addresses[0].Contains(src) || wire.Interfaces[1].Addresses[1].Contains(src) {
			f = wire.Interfaces[1]
		}
		dst = f.Addresses[0].Addr()
		if src.Is6() {
			dst = f.Addresses[1].Addr()
		}
	}
	if src.Is6() {
		q := ip[:min(len(ip), 1280-48)]
		m := append([]byte{kind6, code6, 0, 0, 0, 0, 0, 0}, q...)
		binary.BigEndian.PutUint32(m[4:], rest6)
		binary.BigEndian.PutUint16(m[2:], frame.Checksum(m, frame.Pseudo(dst.AsSlice(), src.AsSlice(), 58, len(m))))
		h.answer(58, dst, src, 0, false, m)
		return
	}
	q := ip[:min(len(ip), 576-28)]
	m := append([]byte{kind4, code4, 0, 0, 0, 0, 0, 0}, q...)
	binary.BigEndian.PutUint16(m[2:], frame.Checksum(m, 0))
	h.answer(1, dst, src, ip[1]&0x1e|0xc0, false, m)
}
