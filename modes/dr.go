package modes

import "github.com/fastlb/fastlb/packet"

// DR prepares a packet for direct routing: the TTL or hop limit goes down by one and nothing else changes; link addresses
// are the caller's. It is also what forwarding through the director does to any packet. spec/forwarding.md 4.
//
//fastlb:hot
func DR(ip []byte) {
	h := (*[20]byte)(ip)
	if h[0]>>4 == 4 {
		packet.DecrementTTL(h[:])
	} else {
		h[7]--
	}
}
