package wire

import (
	"fmt"
	"net/netip"
)

// The site: clients are behind a router on c0's wire, real servers on r0's. Virtual addresses are the director's own.
//
//	clients, router 02:..:0c:01 ─── c0 [director] r0 ─── servers 02:..:02:11 to :18
var (
	ClientMAC = MAC("02:00:00:00:0c:01") // of the clients' router
	OuterMAC  = MAC("02:00:00:00:0c:00") // c0
	InnerMAC  = MAC("02:00:00:00:0d:00") // r0
)

// Interface is one of the director's.
type Interface struct {
	Name, Peer string // Peer is the wire's other end
	Side       string
	MAC        [6]byte
	Addresses  []netip.Prefix
}

// Interfaces are the director's.
var Interfaces = []Interface{
	{"c0", "c1", "c", OuterMAC, prefixes("10.8.0.1/24", "fd00:8::1/64", "10.9.0.1/32", "10.9.0.2/32", "fd00:9::1/128", "fd00:9::2/128")},
	{"r0", "r1", "r", InnerMAC, prefixes("10.2.0.254/24", "fd00:2::fe/64")},
}

// Routers are the next hops towards the clients.
var Routers = []netip.Addr{netip.MustParseAddr("10.8.0.2"), netip.MustParseAddr("fd00:8::2")}

// Servers are how many real servers there are, number 1 being 10.2.0.11 and fd00:2::11.
const Servers = 8

// Server is a real server's address: family 4 or 6, i from 1 to Servers.
func Server(family, i int) netip.Addr {
	if family == 6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:2::%d", 10+i))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.2.0.%d", 10+i))
}

// ServerMAC is a real server's.
func ServerMAC(i int) [6]byte { return MAC(fmt.Sprintf("02:00:00:00:02:%d", 10+i)) }

// Virtual is a virtual address: family 4 or 6, i 1 or 2.
func Virtual(family, i int) netip.Addr {
	if family == 6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:9::%d", i))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.9.0.%d", i))
}

// MAC reads an Ethernet address written with colons.
func MAC(s string) (m [6]byte) {
	if n, err := fmt.Sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]); n != 6 || err != nil {
		panic("MAC address " + s)
	}
	return m
}

func prefixes(l ...string) (out []netip.Prefix) {
	for _, s := range l {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
