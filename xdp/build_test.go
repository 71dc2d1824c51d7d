package xdp

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Packets for the tests, composed of layers: eth(tag(5), ip4("a", "b", 6, ports(1, 2))).

var ownMAC = [6]byte{2, 0, 0, 0, 0, 1}

// layer appends itself to a packet; etherType is what stands before it.
type layer struct {
	etherType uint16
	bytes     []byte
}

func frameTo(mac [6]byte, layers ...layer) []byte {
	b := append(mac[:], 2, 0, 0, 0, 0, 9)
	for _, l := range layers {
		b = binary.BigEndian.AppendUint16(b, l.etherType)
		b = append(b, l.bytes...)
	}
	return b
}

func eth(layers ...layer) []byte { return frameTo(ownMAC, layers...) }

func tag(id uint16) layer  { return layer{0x8100, binary.BigEndian.AppendUint16(nil, id)} }
func qinq(id uint16) layer { return layer{0x88a8, binary.BigEndian.AppendUint16(nil, id)} }

type option4 func(h []byte) []byte

func words(n int) option4 { // n words of IPv4 options (NOP)
	return func(h []byte) []byte {
		h = append(h, slices.Repeat([]byte{1}, 4*n)...)
		h[0] = 0x45 + byte(n)
		return h
	}
}

// frag sets the fragment offset (in units of 8 bytes) and the more-fragments flag.
func frag(offset uint16, more bool) option4 {
	return func(h []byte) []byte {
		if more {
			offset |= 0x2000
		}
		binary.BigEndian.PutUint16(h[6:], offset)
		return h
	}
}

func dontFragment(h []byte) []byte { h[6] |= 0x40; return h }

func ip4(src, dst string, proto uint8, payload []byte, options ...option4) layer {
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, proto
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(h[12:], s[:])
	copy(h[16:], d[:])
	for _, o := range options {
		h = o(h)
	}
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(payload)))
	return layer{0x0800, append(h, payload...)}
}

// extension is an IPv6 extension header; next is filled in by ip6.
type extension struct {
	number uint8
	bytes  []byte
}

func hopByHop(units int) extension    { return plain(0, units) }
func routing(units int) extension     { return plain(43, units) }
func destination(units int) extension { return plain(60, units) }

// plain is an extension header of 8 + 8×units bytes.
func plain(number uint8, units int) extension {
	b := make([]byte, 8+8*units)
	b[1] = byte(units)
	return extension{number, b}
}

// frag6 is a fragment header; offset in units of 8 bytes.
func frag6(offset uint16, more bool) extension {
	b := make([]byte, 8)
	v := offset << 3
	if more {
		v |= 1
	}
	binary.BigEndian.PutUint16(b[2:], v)
	return extension{44, b}
}

func ip6(src, dst string, proto uint8, payload []byte, extensions ...extension) layer {
	h := make([]byte, 40)
	h[0], h[7] = 0x60, 64
	s, d := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	copy(h[8:], s[:])
	copy(h[24:], d[:])
	next := 6 // offset of the byte that names the next header
	for _, e := range extensions {
		h[next] = e.number
		next = len(h)
		h = append(h, e.bytes...)
	}
	h[next] = proto
	binary.BigEndian.PutUint16(h[4:], uint16(len(h)-40+len(payload)))
	return layer{0x86dd, append(h, payload...)}
}

// ports is a transport header of 20 bytes, good for TCP, UDP and SCTP.
func ports(src, dst uint16) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	return b
}

// icmp is an ICMP message of either family about an embedded packet.
func icmp(kind uint8, about layer) []byte {
	return append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, about.bytes...)
}

// first8 cuts an embedded packet as routers do: the IP header and eight bytes of what follows.
func first8(l layer) layer {
	n := 40
	if l.etherType == 0x0800 {
		n = int(l.bytes[0]&15) * 4
	}
	return layer{l.etherType, l.bytes[:n+8]}
}
