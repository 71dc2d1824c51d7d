package modes

import (
	"encoding/binary"

	"github.com/fastlb/fastlb/packet"
)

// Outer4 is what is the same in all outer headers of plain IPv4-in-IPv4 tunnels between two addresses.
type Outer4 struct {
	sum      uint32 // of version, protocol and addresses, as 16-bit words in network order
	src, dst uint32 // as they lie in memory
}

// NewOuter4 prepares the outer header of packets from source to dest, both IPv4.
func NewOuter4(source, dest packet.Addr) Outer4 {
	s := packet.Sum(0x4500 + packet.ProtoIPIP).AddAddr(source).AddAddr(dest)
	return Outer4{sum: uint32(s.Fold()), src: source.Wire4(), dst: dest.Wire4()}
}

// Put does what Tunnel does, for an IPv4 packet of length bytes whose header begins at h[20], h[:20] being the outer
// header's place. id is the identification of packets without DF; pmtuDisc copies the inner DF. spec/forwarding.md 6.
//
//fastlb:hot
func (o *Outer4) Put(h *[40]byte, length uint32, id uint16, pmtuDisc bool) {
	packet.DecrementTTL(h[20:])
	tos, ttl := uint32(h[21]), uint32(h[28])
	if tos&3 == 3 { // RFC 6040's compatibility: CE becomes ECT(0) outside
		tos &^= 1
	}
	fragment := uint32(id) << 16
	if h[26]&0x40 != 0 && pmtuDisc {
		fragment = 0x4000
	}
	total := uint32(uint16(length + 20))
	s := o.sum + tos + total + fragment>>16 + fragment&0xffff + ttl<<8
	s = s>>16 + s&0xffff
	s = ^(s>>16 + s)
	binary.BigEndian.PutUint32(h[:], 0x4500_0000|tos<<16|total)
	binary.BigEndian.PutUint32(h[4:], fragment)
	binary.BigEndian.PutUint32(h[8:], ttl<<24|packet.ProtoIPIP<<16|s&0xffff)
	binary.NativeEndian.PutUint32(h[12:], o.src)
	binary.NativeEndian.PutUint32(h[16:], o.dst)
}
