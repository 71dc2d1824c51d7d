package service

import (
	"fmt"
	"net/netip"
	"strconv"
)

// ProtocolName is tcp, udp, sctp or the number.
func ProtocolName(p uint8) string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// String names the service: "tcp 192.0.2.10:80", "mark 1", "mark 1 ipv6".
func (id ID) String() string {
	switch {
	case id.Mark != 0 && id.Family == 6:
		return fmt.Sprintf("mark %d ipv6", id.Mark)
	case id.Mark != 0:
		return fmt.Sprintf("mark %d", id.Mark)
	}
	return ProtocolName(id.Protocol) + " " + netip.AddrPortFrom(id.Addr, id.Port).String()
}

// String names the server: "10.0.0.11:80".
func (id ServerID) String() string { return netip.AddrPortFrom(id.Addr, id.Port).String() }
