package replay_test

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/internal/scenario/frame"
)

// kernel is what the recorder's director does with a packet that IPVS leaves alone, as far as the recordings show it: no
// process listens there, forwarding is on.
type kernel struct {
	send func(iface string, frame []byte)
}

func (k *kernel) handle(ip []byte) {
	ip = slices.Clone(ip)
	v6 := ip[0]>>4 == 6
	src, dst := addresses(ip)
	if !k.local(dst) {
		k.forward(ip, src, dst)
		return
	}
	hl, proto := int(ip[0]&15)*4, ip[9]
	if v6 {
		hl, proto = 40, ip[6]
	}
	l4 := ip[hl:]
	if k.local(src) && !v6 {
		return // martian source
	}
	switch proto {
	case 6:
		k.reset(ip, src, dst, l4)
	case 17:
		if v6 {
			k.unreachable(ip, 1, 4, 0)
		} else {
			k.unreachable(ip, 3, 3, 0)
		}
	case 1, 58: // errors about nothing of ours; no recording pings
	default:
		if v6 {
			k.unreachable(ip, 4, 1, 6)
		} else {
			k.unreachable(ip, 3, 2, 0)
		}
	}
}

func addresses(ip []byte) (src, dst netip.Addr) {
	if ip[0]>>4 == 4 {
		src, _ = netip.AddrFromSlice(ip[12:16])
		dst, _ = netip.AddrFromSlice(ip[16:20])
	} else {
		src, _ = netip.AddrFromSlice(ip[8:24])
		dst, _ = netip.AddrFromSlice(ip[24:40])
	}
	return src, dst
}

func (k *kernel) local(a netip.Addr) bool {
	for _, f := range recorderSite().Interfaces {
		for _, p := range f.Addresses {
			if p.Addr() == a {
				return true
			}
		}
	}
	return false
}

// forward sends the packet on its way, one hop older.
func (k *kernel) forward(ip []byte, src, dst netip.Addr) {
	if src.Is4() && k.local(src) {
		return // martian source
	}
	if ip[0]>>4 == 4 {
		ip[8]--
		copy(ip[10:], []byte{0, 0})
		binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:int(ip[0]&15)*4], 0))
	} else {
		ip[7]--
	}
	k.emit(ip, dst)
}

// emit routes as the recorder's director does.
func (k *kernel) emit(ip []byte, dst netip.Addr) {
	site := recorderSite()
	if site.Interfaces[1].Addresses[0].Contains(dst) || site.Interfaces[1].Addresses[1].Contains(dst) {
		if mac, ok := site.Neighbors[dst]; ok {
			k.send("r0", frame.Ethernet(mac, macR0, ip))
		}
		return
	}
	k.send("c0", frame.Ethernet(macC1, macC0, ip))
}

// header is an IP header from dst back to src, for n bytes of proto.
func header(proto uint8, src, dst netip.Addr, n int) []byte {
	if src.Is6() {
		h := make([]byte, 40)
		h[0] = 0x60
		binary.BigEndian.PutUint16(h[4:], uint16(n))
		h[6], h[7] = proto, 64
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
		return h
	}
	h := make([]byte, 20)
	h[0] = 0x45
	binary.BigEndian.PutUint16(h[2:], uint16(20+n))
	h[8], h[9] = 64, proto
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	return h
}

// reset answers a segment for which there is no socket (RFC 9293 3.10.7.1).
func (k *kernel) reset(ip []byte, src, dst netip.Addr, l4 []byte) {
	if len(l4) < 20 || l4[13]&4 != 0 {
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
	h := header(6, dst, src, 20)
	if ip[0]>>4 == 4 {
		h[6] = 0x40
		binary.BigEndian.PutUint16(h[10:], frame.Checksum(h, 0))
	}
	k.emit(append(h, t...), src)
}

// unreachable sends an ICMP error about the packet.
func (k *kernel) unreachable(ip []byte, kind, code, rest byte) {
	src, dst := addresses(ip)
	if ip[0]>>4 == 6 {
		q := ip[:min(len(ip), 1280-48)]
		m := append([]byte{kind, code, 0, 0, 0, 0, 0, rest}, q...)
		binary.BigEndian.PutUint16(m[2:], frame.Checksum(m, frame.Pseudo(dst.AsSlice(), src.AsSlice(), 58, len(m))))
		k.emit(append(header(58, dst, src, len(m)), m...), src)
		return
	}
	q := ip[:min(len(ip), 576-28)]
	m := append([]byte{kind, code, 0, 0, 0, 0, 0, 0}, q...)
	binary.BigEndian.PutUint16(m[2:], frame.Checksum(m, 0))
	h := header(1, dst, src, len(m))
	h[1] = ip[1]&0x1e | 0xc0
	binary.BigEndian.PutUint16(h[10:], frame.Checksum(h, 0))
	k.emit(append(h, m...), src)
}
