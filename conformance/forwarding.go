package conformance

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/fastlb/fastlb/conformance/wire"
)

// method is a way of forwarding, as ipvsadm's options, with the families of service and server.
type method struct {
	name, options string
	service       int // family
	server        int
}

// methods are all of them, in the families and between them.
func methods() (l []method) {
	plain := []struct{ name, options string }{
		{"nat", "-m"}, {"dr", "-g"},
		{"ipip", "-i"}, {"gre", "-i --tun-type gre --tun-nocsum"}, {"gre-csum", "-i --tun-type gre --tun-csum"},
		{"gue", fmt.Sprintf("-i --tun-type gue --tun-port %d --tun-nocsum", guePort)},
		{"gue-csum", fmt.Sprintf("-i --tun-type gue --tun-port %d --tun-csum", guePort)},
		{"gue-remcsum", fmt.Sprintf("-i --tun-type gue --tun-port %d --tun-remcsum", guePort)},
	}
	for _, service := range []int{4, 6} {
		for _, server := range []int{4, 6} {
			for _, p := range plain {
				if service == server || strings.HasPrefix(p.options, "-i") {
					name := fmt.Sprintf("%s/v%d", p.name, service)
					if service != server {
						name += fmt.Sprintf("-in-v%d", server)
					}
					l = append(l, method{name, p.options, service, server})
				}
			}
		}
	}
	return l
}

// Forwarding has each method carry each protocol: connections from opening to closing, sizes around the MTU, TTL, TOS,
// DF, options, fragments, checksums, and ICMP both ways.
func Forwarding() (l []wire.Case) {
	for _, m := range methods() {
		for _, proto := range []string{"tcp", "udp", "sctp"} {
			l = append(l,
				write("forward/"+m.name+"/"+proto, 1, func(a *author) { forward(a, m, proto) }),
				write("size/"+m.name+"/"+proto, 1, func(a *author) { sizes(a, m, proto) }),
				write("icmp/"+m.name+"/"+proto, 1, func(a *author) { icmp(a, m, proto) }))
		}
	}
	return l
}

// serve makes a service with one server.
func serve(a *author, m method, proto string) (virtual netip.AddrPort) {
	virtual = netip.AddrPortFrom(wire.Virtual(m.service, 1), 80)
	port := uint16(80)
	if strings.HasPrefix(m.name, "nat") {
		port = 8080
	}
	a.run("ipvsadm -A %s %s -s rr", flag(proto), virtual)
	a.run("ipvsadm -a %s %s -r %s %s", flag(proto), virtual, netip.AddrPortFrom(wire.Server(m.server, 1), port), m.options)
	return virtual
}

// packet is one of an established connection, up or down.
func packet(proto string, up bool) string {
	switch {
	case proto == "tcp" && up:
		return "A seq=1001 ack=5001"
	case proto == "tcp":
		return "A seq=5001 ack=1001"
	case proto == "sctp":
		return "chunk=0"
	}
	return ""
}

// connect opens a connection of any protocol.
func connect(a *author, proto string, client, virtual netip.AddrPort) *conversation {
	c := a.begin(proto, client, virtual, "")
	switch proto {
	case "tcp":
		a.down(c, "SA seq=5000 ack=1001")
		a.up(c, "A seq=1001 ack=5001")
	case "udp":
		a.down(c, "len=8")
	case "sctp":
		a.down(c, "chunk=2")
		a.up(c, "chunk=10")
		a.down(c, "chunk=11")
	}
	return c
}

func forward(a *author, m method, proto string) {
	virtual := serve(a, m, proto)
	c := connect(a, proto, client(m.service, 1, 1000), virtual)
	a.run("ipvsadm -L -n -c")
	both := func(more string) {
		a.up(c, packet(proto, true)+" "+more)
		a.down(c, packet(proto, false)+" "+more)
	}
	for _, more := range []string{"len=1", "len=10 tos=0x10", "len=11 tos=3", "len=10 tos=1", "len=10 tos=0xb8", "ttl=2 len=3", "ttl=1 len=3", "id=0 len=5", "csum=bad len=7"} {
		both(more)
	}
	if m.service == 4 {
		for _, more := range []string{"df len=4", "ipopts=01010100 len=4", "ipopts=94040000 len=4", "df ttl=1"} {
			both(more)
		}
	} else {
		both("exthdr=1 len=4")
	}
	switch proto {
	case "tcp":
		both("opts=020405b40402080a0000000100000000 len=5")
		a.up(c, "PA seq=1001 ack=5001 len=20")
		a.up(c, "seq=1001 len=1") // no flag at all
		a.close(c)
	case "udp":
		if m.service == 4 {
			both("csum=zero len=9")
		}
	case "sctp":
		a.up(c, "chunk=7")
		a.down(c, "chunk=8")
		a.up(c, "chunk=14")
	}
	a.run("ipvsadm -L -n -c")
	for i := range 3 {
		connect(a, proto, client(m.service, 2+i, 2000), virtual)
	}
	a.in("c", "%s %s > %s %s", proto, client(m.service, 7, 3000), netip.AddrPortFrom(virtual.Addr(), 81), packet(proto, true))
	a.up(&conversation{proto: proto, client: client(m.service, 8, 3000), virtual: virtual}, packet(proto, true))
	a.end()
}

// headers are the bytes of a packet's headers.
func headers(m method, proto string) int {
	n := map[string]int{"tcp": 20, "udp": 8, "sctp": 12}[proto]
	if m.service == 6 {
		return n + 40
	}
	return n + 20
}

func sizes(a *author, m method, proto string) {
	virtual := serve(a, m, proto)
	c := connect(a, proto, client(m.service, 1, 1000), virtual)
	send := func(more string) {
		a.up(c, packet(proto, true)+" "+more)
		a.down(c, packet(proto, false)+" "+more)
	}
	if proto != "sctp" { // whose packets have no payload here
		for _, total := range []int{1500, 1480, 1481, 1476, 1472, 1468, 1464, 1460, 1452, 1456, 1448, 1440, 1437, 1400} {
			more := fmt.Sprintf("len=%d", total-headers(m, proto))
			send(more)
			if m.service == 4 {
				send(more + " df")
			}
		}
	}
	pieces := func(client netip.AddrPort, more string) {
		c := *c
		c.client = client
		send := func(text string) {
			a.up(&c, packet(proto, true)+" "+text+" "+more)
		}
		if proto == "sctp" {
			send("frag=8 id=21")
			send("frag=8 reverse id=22")
			return
		}
		send("len=2000 frag=1448 id=11")
		send("len=3000 frag=1024 id=12")
		send("len=3000 frag=1024 reverse id=13")
		send("len=100 frag=24 id=14")
		send("len=1600 frag=800 id=15 tos=0x10")
		send("len=1600 frag=800 id=16 ttl=1")
	}
	pieces(c.client, "")
	if m.service == 4 && proto != "sctp" {
		a.up(c, packet(proto, true)+" len=2000 frag=1448 id=17 df")
	}
	if m.service == 6 && proto != "sctp" { // a fragment that is the whole
		a.up(c, packet(proto, true)+" len=100 frag=1232 id=19")
	}
	if proto == "udp" { // a connection that begins in pieces
		pieces(client(m.service, 3, 1100), "")
	}
	if proto != "sctp" {
		a.down(c, packet(proto, false)+" len=2000 frag=1448 id=31")
		a.down(c, packet(proto, false)+" len=2000 frag=1000 reverse id=32")
	}
	a.run("mtu r0 1300")
	if proto != "sctp" {
		for _, total := range []int{1400, 1301, 1300, 1280, 1240} {
			a.up(c, fmt.Sprintf("%s len=%d", packet(proto, true), total-headers(m, proto)))
			if m.service == 4 {
				a.up(c, fmt.Sprintf("%s len=%d df", packet(proto, true), total-headers(m, proto)))
			}
		}
		a.up(c, packet(proto, true)+" len=2000 frag=1248 id=18")
	}
	if strings.HasPrefix(m.options, "-i") {
		a.run("tunable pmtu_disc 0")
		if proto != "sctp" {
			a.up(c, fmt.Sprintf("%s len=%d", packet(proto, true), 1290-headers(m, proto)))
		}
		if m.service == 4 && proto != "sctp" {
			a.up(c, fmt.Sprintf("%s len=%d df", packet(proto, true), 1290-headers(m, proto)))
		}
	}
	a.end()
}

// icmp has everybody send errors about everybody's packets.
func icmp(a *author, m method, proto string) {
	virtual := serve(a, m, proto)
	c := connect(a, proto, client(m.service, 1, 1000), virtual)
	name, router, server := "icmp", "198.51.100.77", wire.Server(m.service, 1)
	types := []string{"type=3 code=1", "type=3 code=3", "type=3 code=4 mtu=1400", "type=11 code=0", "type=12", "type=4", "type=5 code=1"}
	pings := []string{"type=8 icmpid=7 icmpseq=1", "type=0", "type=13"}
	if m.service == 6 {
		name, router = "icmp6", "2001:db8:77::1"
		types = []string{"type=1 code=0", "type=1 code=4", "type=2 mtu=1400", "type=3 code=0", "type=4 code=1"}
		pings = []string{"type=128 rest=0x70001", "type=129", "type=150"}
	}
	for _, t := range types {
		a.up(c, packet(proto, true)+" len=40")
		for _, q := range []string{"", " q=60", " q=48 ttl=1"} {
			if c.nat { // the server, and a router before it, about what it was sent
				a.in("r", "%s %s > %s %s inner=r%s", name, server, c.client.Addr(), t, q)
				a.in("r", "%s %s > %s %s inner=r%s", name, wire.Server(m.service, 2), c.client.Addr(), t, q)
			} else if strings.HasPrefix(m.options, "-i") { // a router of the tunnel's path, to the director
				outer, from := "icmp", wire.Server(m.server, 3)
				of := t
				if m.server == 6 {
					outer = "icmp6"
				}
				if m.server != m.service { // the same in the other family
					of = map[string]string{
						"type=3 code=1": "type=1 code=0", "type=3 code=3": "type=1 code=4", "type=3 code=4 mtu=1400": "type=2 mtu=1400", "type=11 code=0": "type=3 code=0", "type=12": "type=4", "type=4": "type=1 code=3", "type=5 code=1": "type=1 code=1",
						"type=1 code=0": "type=3 code=1", "type=1 code=4": "type=3 code=3", "type=2 mtu=1400": "type=3 code=4 mtu=1400", "type=3 code=0": "type=11 code=0", "type=4 code=1": "type=12",
					}[t]
				}
				long := " q=140"
				if q != "" {
					long = q
				}
				a.in("r", "%s %s > %s %s inner=r%s", outer, from, outerSource(m.server), of, long)
				a.up(c, packet(proto, true)+" len=40")
			}
		}
		if c.nat {
			a.down(c, packet(proto, false)+" len=40")
			for _, q := range []string{"", " q=60", " ttl=1"} { // a router before the client, about what the client was sent
				a.in("c", "%s %s > %s %s inner=c%s", name, router, virtual.Addr(), t, q)
			}
			a.in("c", "%s %s > %s %s inner=c csum=bad", name, router, virtual.Addr(), t)
		}
		a.in("c", "%s %s > %s %s inner=c<", name, router, virtual.Addr(), t) // about a request, to its addressee: nonsense
	}
	for _, p := range pings {
		a.in("c", "%s %s > %s %s", name, c.client.Addr(), virtual.Addr(), p)
	}
	a.run("ipvsadm -d %s %s -r %s", flag(proto), virtual, serverAddress(m, c))
	a.begin(proto, client(m.service, 2, 1000), virtual, "")
	a.up(c, packet(proto, true))
	a.end()
}

// outerSource is where a tunnel's outer packets come from.
func outerSource(family int) netip.Addr {
	if family == 6 {
		return wire.Interfaces[1].Addresses[1].Addr()
	}
	return wire.Interfaces[1].Addresses[0].Addr()
}

// serverAddress is the server of serve, as ipvsadm takes it.
func serverAddress(m method, c *conversation) netip.AddrPort {
	if c.nat {
		return c.server
	}
	return netip.AddrPortFrom(wire.Server(m.server, 1), 80)
}
