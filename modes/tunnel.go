package modes

import (
	"encoding/binary"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// Outer describes the header that a tunnel puts in front of a packet. All in host order.
type Outer struct {
	Source, Dest packet.Addr
	Type         service.TunnelType
	Sum          service.TunnelChecksum
	Port         uint16 // GUE: UDP destination port
	SourcePort   uint16 // GUE: UDP source port, stable for the inner flow
	ID           uint16 // IPv4 identification for packets without DF
	PMTUDisc     bool   // copy the inner DF (sysctl pmtu_disc)
}

// Overhead is what the tunnel adds to a packet, in bytes.
func Overhead(v6 bool, t service.TunnelType, sum service.TunnelChecksum) int {
	n := 20
	if v6 {
		n = 40
	}
	switch t {
	case service.GUE:
		n += 12
	case service.GRE:
		n += 4
		if sum != service.NoChecksum {
			n += 4
		}
	}
	return n
}

// Tunnel decrements the inner packet's TTL and puts the outer headers in front. buf holds the inner packet at [at:end]
// with at least Overhead bytes of room before it; it returns where the outer packet begins. spec/forwarding.md 6.
//
//fastlb:hot
func Tunnel(buf []byte, at, end int, o *Outer) int {
	inner := buf[at:end]
	DR(inner)
	var tos, ttl, proto uint8
	var df bool
	if inner[0]>>4 == 4 {
		tos, ttl, proto = inner[1], inner[8], packet.ProtoIPIP
		df = inner[6]&0x40 != 0
	} else {
		tos, ttl, proto = inner[0]<<4|inner[1]>>4, inner[7], packet.ProtoIPv6
	}
	if tos&3 == 3 { // RFC 6040's compatibility: CE becomes ECT(0) outside
		tos = tos&^3 | 2
	}
	if o.Type != service.IPIP {
		at, proto = encapsulate(buf, at, end, proto, o)
	}
	if o.Dest.Is4() {
		at -= 20
		id, flags := o.ID, uint16(0)
		if df && o.PMTUDisc {
			id, flags = 0, 0x4000
		}
		putHeader4(buf[at:at+20], uint32(0x4500)|uint32(tos), uint32(uint16(end-at)), uint32(id)<<16|uint32(flags), uint32(ttl)<<8|uint32(proto), o)
		return at
	}
	at -= 40
	h := buf[at : at+40]
	h[0], h[1], h[2], h[3] = 0x60|tos>>4, tos<<4, 0, 0
	binary.BigEndian.PutUint16(h[4:], uint16(end-at-40))
	h[6], h[7] = proto, ttl
	o.Source.Put16(h[8:])
	o.Dest.Put16(h[24:])
	return at
}

// putHeader4 writes an IPv4 header without options from its words: the checksum is added up from them, not read back from
// the bytes just written, which would wait for these to reach the cache.
func putHeader4(h []byte, version, length, fragment, ttl uint32, o *Outer) {
	_ = h[19]
	src, dst := o.Source.V4(), o.Dest.V4()
	sum := packet.Sum(version) + packet.Sum(length) + packet.Sum(fragment) + packet.Sum(ttl) + packet.Sum(src) + packet.Sum(dst)
	binary.BigEndian.PutUint32(h, version<<16|length)
	binary.BigEndian.PutUint32(h[4:], fragment)
	binary.BigEndian.PutUint32(h[8:], ttl<<16|uint32(sum.Checksum()))
	binary.BigEndian.PutUint32(h[12:], src)
	binary.BigEndian.PutUint32(h[16:], dst)
}

// encapsulate puts the GUE or GRE header in front and returns where it begins and the outer header's protocol.
func encapsulate(buf []byte, at, end int, proto uint8, o *Outer) (int, uint8) {
	if o.Type == service.GUE {
		at -= 12
		h := buf[at:end]
		binary.BigEndian.PutUint16(h, o.SourcePort)
		binary.BigEndian.PutUint16(h[2:], o.Port)
		binary.BigEndian.PutUint16(h[4:], uint16(len(h)))
		h[6], h[7] = 0, 0
		h[8], h[9], h[10], h[11] = 0, proto, 0, 0
		if o.Sum != service.NoChecksum {
			c := packet.PseudoHeader(o.Source, o.Dest, packet.ProtoUDP, len(h)).AddBytes(h).Checksum()
			if c == 0 {
				c = 0xffff
			}
			binary.BigEndian.PutUint16(h[6:], c)
		}
		return at, packet.ProtoUDP
	}
	ether := uint16(packet.EtherIPv4)
	if proto == packet.ProtoIPv6 {
		ether = packet.EtherIPv6
	}
	if o.Sum == service.NoChecksum {
		at -= 4
		h := buf[at:end]
		h[0], h[1] = 0, 0
		binary.BigEndian.PutUint16(h[2:], ether)
		return at, packet.ProtoGRE
	}
	at -= 8
	h := buf[at:end]
	h[0], h[1] = 0x80, 0
	binary.BigEndian.PutUint16(h[2:], ether)
	clear(h[4:8])
	binary.BigEndian.PutUint16(h[4:], packet.Sum(0).AddBytes(h).Checksum())
	return at, packet.ProtoGRE
}
