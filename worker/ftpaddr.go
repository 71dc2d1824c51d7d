package worker

import (
	"net/netip"

	"github.com/fastlb/fastlb/packet"
)

// parseAddr reads an address of one family as text.
func parseAddr(b []byte, v6 bool) (packet.Addr, bool) {
	if len(b) > 45 {
		return packet.Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	if err != nil || a.Is6() != v6 || a.Zone() != "" {
		return packet.Addr{}, false
	}
	return packet.AddrFrom(a), true
}
