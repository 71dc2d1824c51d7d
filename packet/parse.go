package packet

import (
	"encoding/binary"
	"math/bits"
)

// Kind says what Parse found. Everything but Transport leaves the hot path.
type Kind uint8

const (
	Transport    Kind = iota // whole TCP, UDP or SCTP packet: Tuple has addresses and ports
	ICMP                     // ICMP or ICMPv6, whole
	Fragment                 // a fragment of whatever protocol: Tuple has addresses, ports are 0
	OtherProto               // another IP protocol (AH and ESP among them): Tuple has addresses and Proto
	NotIP                    // ARP, LLDP, a VLAN inside more tags than two …
	Runt                     // shorter than the headers it announces
	BadIP                    // wrong version, header length, total length or header checksum
	BadTransport             // too short to hold ports
)

// EtherTypes and protocol numbers that the dataplane knows by name.
const (
	EtherIPv4   = 0x0800
	EtherIPv6   = 0x86dd
	EtherARP    = 0x0806
	EtherVLAN   = 0x8100
	EtherQinQ   = 0x88a8
	ProtoICMP   = 1
	ProtoIPIP   = 4
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoIPv6   = 41
	ProtoGRE    = 47
	ProtoESP    = 50
	ProtoAH     = 51
	ProtoICMPv6 = 58
	ProtoSCTP   = 132
)

// NoVLAN is Parsed.VLAN of an untagged frame.
const NoVLAN = 0xffff

// TCP flag bits as they stand in the header's byte 13.
const (
	FIN = 0x01
	SYN = 0x02
	RST = 0x04
	PSH = 0x08
	ACK = 0x10
	URG = 0x20
)

// Parsed is what Parse found besides the Tuple; reused from packet to packet. Offsets count from the frame's first byte.
type Parsed struct {
	Len   uint32 // IP packet's length in bytes, header included; valid but for NotIP, Runt, BadIP
	L3    uint16 // offset of the IP header; valid unless NotIP or Runt before it
	L4    uint16 // offset of what follows the IP header and its extensions; valid for Transport, ICMP, OtherProto
	VLAN  uint16 // outer VLAN id, NoVLAN if none; priority tags (id 0) count as none
	VLAN2 uint16 // inner VLAN id, NoVLAN if none
	Kind  Kind
	Flags uint8 // TCP flags; 0 for other protocols
	TTL   uint8 // TTL or hop limit
	TOS   uint8 // TOS or traffic class
	DF    bool  // IPv4 don't fragment
}

// maxExtensions bounds the walk over IPv6 extension headers.
const maxExtensions = 8

// Parse reads one Ethernet frame. It never fails: what is wrong with the frame is p.Kind. Bytes behind the IP packet
// (Ethernet padding) are ignored.
//
//fastlb:hot
func Parse(frame []byte, k *Tuple, p *Parsed) {
	if len(frame) < 54 || binary.LittleEndian.Uint32(frame[12:])&0x00ff_ffff != 0x45_00_08 {
		parseGeneral(frame, k, p)
		return
	}
	// What nearly every packet is: untagged IPv4, no options, whole, TCP or UDP. The header is read in a few words
	// instead of a dozen pieces; parse4 decides about everything else.
	h := (*[40]byte)(frame[14:54])
	a, b := binary.LittleEndian.Uint64(h[0:]), binary.LittleEndian.Uint64(h[8:])
	c := binary.LittleEndian.Uint32(h[16:])
	total := int(bits.ReverseBytes16(uint16(a >> 16)))
	proto := uint8(b >> 8)
	flags, least := h[33], 40
	if proto != ProtoTCP {
		if proto != ProtoUDP {
			parseGeneral(frame, k, p)
			return
		}
		flags, least = 0, 28
	}
	// 0xff3f: more-fragments and the offset, as the bytes lie in a.
	if !sumOK(a, b, uint64(c)) || uint16(a>>48)&0xff3f != 0 || total > len(frame)-14 || total < least {
		parseGeneral(frame, k, p)
		return
	}
	// Field by field: a composite literal is built on the stack in narrow pieces and copied in wide ones, which waits for
	// the pieces to reach the cache.
	p.Len, p.L3, p.L4, p.VLAN, p.VLAN2 = uint32(total), 14, 34, NoVLAN, NoVLAN
	p.Kind, p.Flags, p.TTL, p.TOS, p.DF = Transport, flags, uint8(b), uint8(a>>8), a&(0x40<<48) != 0
	d := binary.LittleEndian.Uint32(h[20:])
	k.Src, k.Dst = addrFromWord(uint32(b>>32)), addrFromWord(c)
	k.SrcPort, k.DstPort = bits.ReverseBytes16(uint16(d)), bits.ReverseBytes16(uint16(d>>16))
	k.Proto, k.Family = proto, 4
}

// sumOK tells whether the words of a header, as they lie in memory, add up to a right checksum. The sum of a number and
// itself rotated by half has the one's complement sum of its halves, the carry included, in its upper half.
func sumOK(a, b, c uint64) bool {
	s, carry := bits.Add64(a, b, 0)
	s, carry = bits.Add64(s, c, carry)
	s += carry
	s += bits.RotateLeft64(s, 32)
	t := uint32(s >> 32)
	t += bits.RotateLeft32(t, 16)
	return t>>16 == 0xffff
}

// parseGeneral is Parse for whatever comes.
func parseGeneral(frame []byte, k *Tuple, p *Parsed) {
	p.VLAN, p.VLAN2 = NoVLAN, NoVLAN
	if len(frame) < 14 {
		p.Kind = Runt
		return
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case EtherIPv4:
		p.L3 = 14
		parse4(frame, k, p)
	case EtherIPv6:
		p.L3 = 14
		parse6(frame, k, p)
	case EtherVLAN, EtherQinQ:
		parseTagged(frame, k, p)
	default:
		p.Kind = NotIP
	}
}

// addrFromWord is AddrFrom4 for four bytes loaded as a little-endian word.
func addrFromWord(w uint32) Addr {
	if littleEndian {
		return Addr{0, uint64(w)<<32 | 0xffff0000}
	}
	return Addr{0, uint64(v4prefix)<<32 | uint64(bits.ReverseBytes32(w))}
}

// ParseIP is Parse for a packet without a link header, at offset l3 of b.
func ParseIP(b []byte, l3 int, k *Tuple, p *Parsed) {
	p.VLAN, p.VLAN2, p.L3 = NoVLAN, NoVLAN, uint16(l3)
	if len(b) <= l3 {
		p.Kind = Runt
		return
	}
	switch b[l3] >> 4 {
	case 4:
		parse4(b, k, p)
	case 6:
		parse6(b, k, p)
	default:
		p.Kind = BadIP
	}
}

func parseTagged(frame []byte, k *Tuple, p *Parsed) {
	off := 14
	for tag := 0; ; tag++ {
		if len(frame) < off+4 {
			p.Kind = Runt
			return
		}
		if id := binary.BigEndian.Uint16(frame[off:]) & 0x0fff; id != 0 {
			if p.VLAN == NoVLAN {
				p.VLAN = id
			} else {
				p.VLAN2 = id
			}
		}
		next := binary.BigEndian.Uint16(frame[off+2:])
		off += 4
		switch next {
		case EtherIPv4:
			p.L3 = uint16(off)
			parse4(frame, k, p)
			return
		case EtherIPv6:
			p.L3 = uint16(off)
			parse6(frame, k, p)
			return
		case EtherVLAN, EtherQinQ:
			if tag == 0 {
				continue
			}
		}
		p.Kind = NotIP
		return
	}
}

//fastlb:hot
func parse4(frame []byte, k *Tuple, p *Parsed) {
	h := frame[p.L3:]
	if len(h) < 20 {
		p.Kind = Runt
		return
	}
	ihl := int(h[0]&15) * 4
	total := int(binary.BigEndian.Uint16(h[2:]))
	if h[0]>>4 != 4 || ihl < 20 || total < ihl || total > len(h) || !headerSumOK(h, ihl) {
		p.Kind = BadIP
		return
	}
	frag := binary.BigEndian.Uint16(h[6:])
	p.Len = uint32(total)
	p.TOS = h[1]
	p.TTL = h[8]
	p.DF = frag&0x4000 != 0
	p.L4 = p.L3 + uint16(ihl)
	k.Src = AddrFrom4(h[12:16])
	k.Dst = AddrFrom4(h[16:20])
	k.Family = 4
	proto := h[9]
	k.Proto = proto
	if frag&0x3fff != 0 {
		k.SrcPort, k.DstPort = 0, 0
		p.Kind = Fragment
		return
	}
	parseTransport(h[ihl:total], proto, k, p)
}

//fastlb:hot
func parse6(frame []byte, k *Tuple, p *Parsed) {
	h := frame[p.L3:]
	if len(h) < 40 {
		p.Kind = Runt
		return
	}
	total := 40 + int(binary.BigEndian.Uint16(h[4:]))
	if h[0]>>4 != 6 || total > len(h) {
		p.Kind = BadIP
		return
	}
	p.Len = uint32(total)
	p.TOS = h[0]<<4 | h[1]>>4
	p.TTL = h[7]
	p.DF = true
	k.Src = AddrFrom16(h[8:24])
	k.Dst = AddrFrom16(h[24:40])
	k.Family = 6
	proto, off := h[6], 40
	if proto != ProtoTCP && proto != ProtoUDP {
		var kind Kind
		proto, off, kind = walkExtensions(h[:total], proto)
		if kind != Transport {
			k.Proto, k.SrcPort, k.DstPort = proto, 0, 0
			p.Kind = kind
			p.L4 = p.L3 + uint16(off)
			return
		}
	}
	p.L4 = p.L3 + uint16(off)
	k.Proto = proto
	parseTransport(h[off:total], proto, k, p)
}

// walkExtensions goes through the extension headers (RFC 8200 4) of packet h whose first next-header value is proto and
// returns the upper protocol and its offset. kind is Transport if the walk came through; Fragment with the protocol
// behind the fragment header, also for an atomic fragment (RFC 6946), which is a whole packet once the header is off.
func walkExtensions(h []byte, proto uint8) (uint8, int, Kind) {
	off := 40
	for range maxExtensions {
		switch proto {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(h) < off+8 {
				return proto, off, BadIP
			}
			proto, off = h[off], off+8+int(h[off+1])*8
		case ProtoAH:
			return proto, off, OtherProto
		case 44:
			if len(h) < off+8 {
				return proto, off, BadIP
			}
			return h[off], off, Fragment
		default:
			if off > len(h) {
				return proto, off, BadIP
			}
			return proto, off, Transport
		}
		if off > len(h) {
			return proto, off, BadIP
		}
	}
	return proto, off, BadIP
}

// parseTransport reads the ports; b begins behind the IP header and ends with the packet.
//
//fastlb:hot
func parseTransport(b []byte, proto uint8, k *Tuple, p *Parsed) {
	p.Flags = 0
	switch proto {
	case ProtoTCP:
		if len(b) >= 20 {
			p.Flags = b[13]
			k.SrcPort = binary.BigEndian.Uint16(b)
			k.DstPort = binary.BigEndian.Uint16(b[2:])
			p.Kind = Transport
			return
		}
	case ProtoUDP:
		if len(b) >= 8 {
			k.SrcPort = binary.BigEndian.Uint16(b)
			k.DstPort = binary.BigEndian.Uint16(b[2:])
			p.Kind = Transport
			return
		}
	case ProtoSCTP:
		if len(b) >= 12 {
			k.SrcPort = binary.BigEndian.Uint16(b)
			k.DstPort = binary.BigEndian.Uint16(b[2:])
			p.Kind = Transport
			return
		}
	case ProtoICMP, ProtoICMPv6:
		k.SrcPort, k.DstPort = 0, 0
		p.Kind = ICMP
		if (proto == ProtoICMP) != (k.Family == 4) {
			p.Kind = OtherProto
		}
		return
	default:
		k.SrcPort, k.DstPort = 0, 0
		p.Kind = OtherProto
		return
	}
	k.SrcPort, k.DstPort = 0, 0
	p.Kind = BadTransport
}

// headerSumOK verifies an IPv4 header's checksum; ihl is 20 to 60 and len(h) ≥ 20.
//
//fastlb:hot
func headerSumOK(h []byte, ihl int) bool {
	s := uint64(binary.LittleEndian.Uint32(h)) + uint64(binary.LittleEndian.Uint32(h[4:])) +
		uint64(binary.LittleEndian.Uint32(h[8:])) + uint64(binary.LittleEndian.Uint32(h[12:])) +
		uint64(binary.LittleEndian.Uint32(h[16:20]))
	if ihl > 20 {
		s += optionsSum(h, ihl)
	}
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return s == 0xffff
}

func optionsSum(h []byte, ihl int) (s uint64) {
	if ihl > len(h) {
		return 0
	}
	for i := 20; i < ihl; i += 4 {
		s += uint64(binary.LittleEndian.Uint32(h[i:]))
	}
	return s
}

// UpperHeader6 walks the extension headers of the IPv6 packet b, which may be cut off (quoted in an error), and returns the
// upper protocol and its offset. False: the packet ends before, or is a later fragment.
func UpperHeader6(b []byte) (proto uint8, off int, ok bool) {
	proto, off, kind := walkExtensions(b, b[6])
	if kind == OtherProto {
		return proto, off, true
	}
	if kind == Fragment && off+8 <= len(b) && binary.BigEndian.Uint16(b[off+2:])&0xfff8 == 0 {
		return proto, off + 8, true
	}
	return proto, off, kind == Transport
}
