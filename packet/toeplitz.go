package packet

import "encoding/binary"

// rssKey is the key of Microsoft's RSS verification suite, the default of most NICs and of every example.
var rssKey = [40]byte{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
	0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
	0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

// Toeplitz is the receive-side-scaling hash of a packet (Microsoft, "RSS hashing types"): over addresses and ports when
// ports is set (whole TCP and UDP packets), else over the addresses alone (fragments, other protocols).
func Toeplitz(k *Tuple, ports bool) uint32 {
	var in [36]byte
	n := 0
	if k.Family == 4 {
		k.Src.Put4(in[0:])
		k.Dst.Put4(in[4:])
		n = 8
	} else {
		k.Src.Put16(in[0:])
		k.Dst.Put16(in[16:])
		n = 32
	}
	if ports {
		binary.BigEndian.PutUint16(in[n:], k.SrcPort)
		binary.BigEndian.PutUint16(in[n+2:], k.DstPort)
		n += 4
	}
	var h uint32
	window := binary.BigEndian.Uint64(rssKey[:])
	for i, b := range in[:n] {
		for bit := 7; bit >= 0; bit-- {
			if b>>bit&1 != 0 {
				h ^= uint32(window >> 32)
			}
			window <<= 1
		}
		if i+8 < len(rssKey) {
			window |= uint64(rssKey[i+8])
		}
	}
	return h
}
