package packet

import (
	"encoding/binary"
	"net/netip"
	"runtime"
)

// Addr is an IP address as tables and records keep it: the 16 bytes of the IPv6 form in network order, loaded as two
// native words, so that a comparison is two instructions and the value is memory-identical to the bytes on the wire.
// IPv4 addresses are kept v4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2). The zero value is ::, used as "none".
type Addr struct{ Hi, Lo uint64 }

// v4prefix is the first half of Lo of a v4-mapped address: bytes 00 00 ff ff.
var v4prefix = binary.NativeEndian.Uint32([]byte{0, 0, 0xff, 0xff})

// AddrFrom converts from the edge's type; the zone of an IPv6 address is dropped.
func AddrFrom(a netip.Addr) Addr {
	if !a.IsValid() {
		return Addr{}
	}
	b := a.As16()
	return AddrFrom16(b[:])
}

// AddrFrom16 loads 16 bytes in network order.
func AddrFrom16(b []byte) Addr {
	_ = b[15]
	return Addr{binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:])}
}

// AddrFrom4 loads 4 bytes in network order into the v4-mapped form.
func AddrFrom4(b []byte) Addr {
	_ = b[3]
	if littleEndian {
		return Addr{0, uint64(binary.LittleEndian.Uint32(b))<<32 | 0xffff0000}
	}
	return Addr{0, uint64(v4prefix)<<32 | uint64(binary.BigEndian.Uint32(b))}
}

const littleEndian = runtime.GOARCH != "s390x" && runtime.GOARCH != "ppc64" && runtime.GOARCH != "mips" && runtime.GOARCH != "mips64"

// Is4 tells whether the address is v4-mapped.
func (a Addr) Is4() bool {
	if littleEndian {
		return a.Hi == 0 && uint32(a.Lo) == 0xffff0000
	}
	return a.Hi == 0 && uint32(a.Lo>>32) == v4prefix
}

// IsZero tells whether the address is the zero value.
func (a Addr) IsZero() bool { return a.Hi|a.Lo == 0 }

// As16 returns the 16 bytes in network order.
func (a Addr) As16() (b [16]byte) {
	binary.NativeEndian.PutUint64(b[:], a.Hi)
	binary.NativeEndian.PutUint64(b[8:], a.Lo)
	return b
}

// Put16 stores the 16 bytes in network order.
func (a Addr) Put16(b []byte) {
	_ = b[15]
	binary.NativeEndian.PutUint64(b, a.Hi)
	binary.NativeEndian.PutUint64(b[8:], a.Lo)
}

// V4 returns the last four bytes as a number in host order (10.0.0.1 = 0x0a000001).
func (a Addr) V4() uint32 {
	if littleEndian {
		v := uint32(a.Lo >> 32)
		return v<<24 | v>>24 | v<<8&0xff0000 | v>>8&0xff00
	}
	return uint32(a.Lo)
}

// Wire4 returns the last four bytes as they lie in memory, loaded natively.
func (a Addr) Wire4() uint32 {
	if littleEndian {
		return uint32(a.Lo >> 32)
	}
	return uint32(a.Lo)
}

// Put4 stores the last four bytes in network order.
func (a Addr) Put4(b []byte) { binary.NativeEndian.PutUint32(b, a.Wire4()) }

// Fold is the address as the IPVS schedulers hash it: IPv4 the address in host order, IPv6 the exclusive or of its
// four big-endian words.
func (a Addr) Fold() uint32 {
	if a.Is4() {
		return a.V4()
	}
	b := a.As16()
	return binary.BigEndian.Uint32(b[:]) ^ binary.BigEndian.Uint32(b[4:]) ^ binary.BigEndian.Uint32(b[8:]) ^ binary.BigEndian.Uint32(b[12:])
}

// Netip converts to the edge's type; v4-mapped addresses become IPv4, the zero value the invalid netip.Addr.
func (a Addr) Netip() netip.Addr {
	if a.IsZero() {
		return netip.Addr{}
	}
	return netip.AddrFrom16(a.As16()).Unmap()
}

func (a Addr) String() string { return a.Netip().String() }
