package packet

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// Sum is a running one's complement sum in network order, folded only at the end (RFC 1071). Zero is the empty sum.
type Sum uint64

// AddBytes adds b as 16-bit words in network order; an odd last byte is padded with zero, so only the last piece may
// have odd length.
func (s Sum) AddBytes(b []byte) Sum {
	// 32-bit words summed in 64 bits cannot overflow for any packet length.
	v := uint64(s)
	for len(b) >= 16 {
		v += uint64(binary.BigEndian.Uint32(b)) + uint64(binary.BigEndian.Uint32(b[4:])) +
			uint64(binary.BigEndian.Uint32(b[8:])) + uint64(binary.BigEndian.Uint32(b[12:]))
		b = b[16:]
	}
	for len(b) >= 4 {
		v += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		v += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		v += uint64(b[0]) << 8
	}
	return Sum(v)
}

// AddAddr adds an address, 4 or 16 bytes of it as its family goes.
func (s Sum) AddAddr(a Addr) Sum {
	if a.Is4() {
		return s + Sum(a.V4())
	}
	return s + Sum(a.words())
}

// words is the sum of the address's 32-bit words in network order.
func (a Addr) words() uint64 {
	hi, lo := a.Hi, a.Lo
	if littleEndian {
		hi, lo = bits.ReverseBytes64(hi), bits.ReverseBytes64(lo)
	}
	return hi>>32 + hi&0xffffffff + lo>>32 + lo&0xffffffff
}

// Fold gives the 16-bit one's complement sum.
func (s Sum) Fold() uint16 {
	v := uint64(s)
	v = v>>32 + v&0xffffffff
	v = v>>16 + v&0xffff
	v = v>>16 + v&0xffff
	return uint16(v>>16 + v&0xffff)
}

// Checksum is the complement of the sum: what is stored in a header.
func (s Sum) Checksum() uint16 { return ^s.Fold() }

// PseudoHeader is the sum of the pseudo-header of RFC 793/768 (IPv4) or RFC 8200 8.1 (IPv6).
func PseudoHeader(src, dst Addr, proto uint8, length int) Sum {
	return Sum(0).AddAddr(src).AddAddr(dst) + Sum(proto) + Sum(length)
}

// Delta is the change of a checksum when some words of what it covers change: RFC 1624 equation 3,
// HC' = ~(~HC + ~m + m'), with all the ~m and m' added up beforehand. The words are added as they lie in memory: a one's
// complement sum does not mind the order of bytes as long as all of it keeps to one (RFC 1071 2.B).
type Delta uint64

// Replace notes that word old becomes new, both in host order.
func (d Delta) Replace(old, new uint16) Delta { return d + Delta(^wire16(old)) + Delta(wire16(new)) }

// ReplaceAddr notes that one address becomes another of the same family.
func (d Delta) ReplaceAddr(old, new Addr) Delta {
	return d + Delta(new.halves()) + Delta(4*0xffffffff-old.halves())
}

// ReplaceV4 notes that one IPv4 address, as it lies in memory (Addr.Wire4), becomes another.
func (d Delta) ReplaceV4(old, new uint32) Delta { return d + Delta(^old) + Delta(new) }

// halves is the sum of the address's 32-bit words as they lie in memory. A v4-mapped address gives its prefix too, which
// cancels out in a difference of two: it needs no look at the family.
func (a Addr) halves() uint64 { return a.Hi>>32 + a.Hi&0xffffffff + a.Lo>>32 + a.Lo&0xffffffff }

// wire16 is a number in host order as the word that it is on the wire, loaded natively.
func wire16(v uint16) uint16 {
	if littleEndian {
		return bits.ReverseBytes16(v)
	}
	return v
}

// Apply updates the checksum field f (two bytes, network order).
func (d Delta) Apply(f []byte) {
	binary.NativeEndian.PutUint16(f, d.Sum(binary.NativeEndian.Uint16(f)))
}

// ApplyUDP is Apply with UDP's rule that a computed 0 is sent as 0xffff; the caller has made sure that the field is not 0.
func (d Delta) ApplyUDP(f []byte) {
	c := d.Sum(binary.NativeEndian.Uint16(f))
	if c == 0 {
		c = 0xffff
	}
	binary.NativeEndian.PutUint16(f, c)
}

// Sum is the new value of a checksum that was hc, both as they lie in memory. The sum of a number and itself rotated by
// half has the one's complement sum of its halves, the carry included, in its upper half.
func (d Delta) Sum(hc uint16) uint16 {
	v := uint64(d) + uint64(^hc)
	v += bits.RotateLeft64(v, 32)
	w := uint32(v >> 32)
	w += bits.RotateLeft32(w, 16)
	return ^uint16(w >> 16)
}

// DecrementTTL decrements the TTL of the IPv4 header h and updates its checksum as the kernel does (RFC 1141).
func DecrementTTL(h []byte) {
	if !littleEndian {
		decrementTTL(h)
		return
	}
	// TTL, protocol and checksum are one word: read and written at once. The sum does not mind the order of its bytes.
	w := binary.LittleEndian.Uint32(h[8:])
	c := w>>16 + 1
	c += (c + 1) >> 16
	binary.LittleEndian.PutUint32(h[8:], w&0xff00|uint32(uint8(w)-1)|c<<16)
}

// DecrementTTLBy decrements the TTL of the IPv4 header h and brings its checksum in line with that and with a change d of
// its addresses (RFC 1624).
func DecrementTTLBy(h []byte, d Delta) {
	_ = h[11]
	h[8]--
	(d + ttlDelta).Apply(h[10:])
}

// ttlDelta is what a TTL lowered by one changes.
var ttlDelta = Delta(0).Replace(0x0100, 0)

// decrementTTL is DecrementTTL byte by byte.
func decrementTTL(h []byte) {
	_ = h[11]
	h[8]--
	c := uint32(binary.BigEndian.Uint16(h[10:])) + 0x0100
	binary.BigEndian.PutUint16(h[10:], uint16(c+(c+1)>>16))
}

// SetHeaderChecksum computes the checksum of the IPv4 header h (of its own IHL) afresh.
func SetHeaderChecksum(h []byte) {
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], Sum(0).AddBytes(h[:int(h[0]&15)*4]).Checksum())
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SetSCTPChecksum computes the CRC32c of the SCTP packet b (RFC 4960 appendix B; little-endian on the wire).
func SetSCTPChecksum(b []byte) {
	clear(b[8:12])
	binary.LittleEndian.PutUint32(b[8:], crc32.Update(0, castagnoli, b))
}
