package sched

import (
	"math/bits"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// fold is an address as the hashes see it, by the family of the service: of a server of another family only the first 32
// bits count in an IPv4 service (spec/schedulers.md 1.7).
func fold(a packet.Addr, family uint8) uint32 {
	if family == 4 && !a.Is4() {
		b := a.As16()
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	return a.Fold()
}

// hash32 is the kernel's multiplicative hash, the upper n bits.
func hash32(v uint32, n uint) uint32 { return v * 0x61c88647 >> (32 - n) }

// hasPorts tells whether sh-port and mh-port may look at the ports of a protocol.
func hasPorts(proto uint8) bool {
	return proto == service.TCP || proto == service.UDP || proto == service.SCTP
}

// clientPort is the port that sh and mh hash: 0 unless the service's flag asks for it.
func clientPort(r *service.Request) uint32 {
	if r.Flags&service.SchedFlag2 != 0 && hasPorts(r.Protocol) {
		return uint32(r.ClientPort)
	}
	return 0
}

// siphash13 is SipHash-1-3 of the four bytes of v, least significant first, under the key (k, k), cut to 32 bits.
func siphash13(v uint32, k uint64) uint32 {
	v0, v1 := 0x736f6d6570736575^k, 0x646f72616e646f6d^k
	v2, v3 := 0x6c7967656e657261^k, 0x7465646279746573^k
	m := uint64(4)<<56 | uint64(v)
	v3 ^= m
	v0, v1, v2, v3 = sipround(v0, v1, v2, v3)
	v0 ^= m
	v2 ^= 0xff
	for range 3 {
		v0, v1, v2, v3 = sipround(v0, v1, v2, v3)
	}
	return uint32(v0 ^ v1 ^ v2 ^ v3)
}

func sipround(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
