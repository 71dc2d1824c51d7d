package lab

import (
	"fmt"
	"net"
	"net/netip"
)

// DefaultPrefix begins the names of the demo's network namespaces: fastlb-client, fastlb-director, …
const DefaultPrefix = "fastlb"

// Names of the nodes of every site.
const (
	Client   = "client"
	Director = "director"
	Switch   = "switch"
)

// Ports that every real server answers on. HTTP on both TCP ports says the server's name; the bulk port is the built-in
// server's even where nginx has the others.
const (
	WebPort  uint16 = 80   // HTTP
	AltPort  uint16 = 8080 // HTTP: NAT may change the port
	BulkPort uint16 = 9000 // HTTP: /echo returns what it was sent, /name the server's name
	EchoPort uint16 = 5300 // UDP: sends back what it receives, after the server's name and a space
	// Second is added to BulkPort and EchoPort: the servers answer there too, for a second service of the same VIP.
	Second uint16 = 1
)

// natTable is the number of the routing table by which a server answers NAT traffic through the director.
const natTable = 100

// Segment is a broadcast domain of the virtual switch: one Linux bridge.
type Segment struct {
	Name   string
	Bridge string // the bridge's name in the switch's namespace
	V4, V6 netip.Prefix
}

var (
	outside = Segment{Name: "outside", Bridge: "outside", V4: netip.MustParsePrefix("192.0.2.0/24"), V6: netip.MustParsePrefix("2001:db8::/64")}
	inside  = Segment{Name: "inside", Bridge: "inside", V4: netip.MustParsePrefix("10.0.0.0/24"), V6: netip.MustParsePrefix("fd00::/64")}
)

// Interface is a node's end of a veth whose other end is a port of a segment's bridge.
type Interface struct {
	Name      string
	Segment   Segment
	MAC       net.HardwareAddr
	Addresses []netip.Prefix // the first of each family is the node's own, further ones are VIPs
}

// V4 returns the interface's own IPv4 address.
func (i Interface) V4() netip.Addr { return i.Addresses[0].Addr() }

// V6 returns the interface's own IPv6 address.
func (i Interface) V6() netip.Addr { return i.Addresses[1].Addr() }

// Route is one route of a node; Table 0 is the main table, and a Via that is not valid means on link.
type Route struct {
	To        netip.Prefix
	Via       netip.Addr
	Interface string
	Table     int
}

// Rule makes packets from a prefix look their route up in a table of their own.
type Rule struct {
	From  netip.Prefix
	Table int
}

// Node is a network namespace and what is in it.
type Node struct {
	Name       string // client, director, web1 …
	Namespace  string // as `ip netns` lists it
	Interfaces []Interface
	Loopback   []netip.Prefix // VIPs on lo
	Routes     []Route
	Rules      []Rule
	Sysctls    []Sysctl
}

// Sysctl is a file under /proc/sys and what is written there.
type Sysctl struct {
	Path, Value string
}

// VIP is the pair of virtual addresses that one forwarding method has in the lab.
type VIP struct {
	Method string // nat, dr, tunnel
	V4, V6 netip.Addr
}

// Addr returns the VIP's address of family 4 or 6.
func (v VIP) Addr(family int) netip.Addr {
	if family == 6 {
		return v.V6
	}
	return v.V4
}

// Plan is a site on paper. It is a value without life: making it touches nothing.
type Plan struct {
	Prefix  string
	Queues  int  // RX and TX queues of each veth, and of each tap
	Machine bool // the director is a machine: Options.Machine
	Client  Node
	Router  Node // the director; a field named after its place, because Director is the node's name
	Servers []Node
	VIPs    []VIP
}

// Options choose among the sites that can be planned.
type Options struct {
	Prefix  string // of the namespaces' names; "" is DefaultPrefix
	Queues  int    // of each interface; 0 is 1
	Servers int    // 0 is 3; at most 9
	// Machine leaves the director's place to a machine of its own: in place of its namespace there is a tap device for each
	// of its interfaces (Plan.Taps), a port of the segment's bridge, in the switch's namespace.
	Machine bool
}

// NewPlan lays a site out. Addresses and MAC addresses are the same every time.
func NewPlan(o Options) (*Plan, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Queues == 0 {
		o.Queues = 1
	}
	if o.Servers == 0 {
		o.Servers = 3
	}
	if o.Queues < 1 || o.Queues > 64 || o.Servers < 1 || o.Servers > 9 {
		return nil, fmt.Errorf("lab: %d queues and %d servers: 1 to 64 queues and 1 to 9 servers can be built", o.Queues, o.Servers)
	}
	p := &Plan{
		Prefix:  o.Prefix,
		Queues:  o.Queues,
		Machine: o.Machine,
		VIPs: []VIP{
			{"nat", netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")},
			{"dr", netip.MustParseAddr("192.0.2.20"), netip.MustParseAddr("2001:db8::20")},
			{"tunnel", netip.MustParseAddr("192.0.2.30"), netip.MustParseAddr("2001:db8::30")},
		},
	}
	p.Client = p.client()
	p.Router = p.director()
	for i := 1; i <= o.Servers; i++ {
		p.Servers = append(p.Servers, p.server(i))
	}
	return p, nil
}

// Nodes returns every node that is a namespace but the switch, in the order of the picture.
func (p *Plan) Nodes() []Node {
	if p.Machine {
		return append([]Node{p.Client}, p.Servers...)
	}
	return append([]Node{p.Client, p.Router}, p.Servers...)
}

// Tap is the name of the device, in the switch's namespace, that a machine in the director's place has its NIC on.
func (p *Plan) Tap(i Interface) string { return p.Router.Name + "-" + i.Name }

// Namespaces returns the names of the site's namespaces, the switch's included.
func (p *Plan) Namespaces() []string {
	names := []string{p.namespace(Switch)}
	for _, n := range p.Nodes() {
		names = append(names, n.Namespace)
	}
	return names
}

// VIP returns the virtual addresses of a forwarding method, which must be one of the plan's.
func (p *Plan) VIP(method string) VIP {
	for _, v := range p.VIPs {
		if v.Method == method {
			return v
		}
	}
	panic("lab: no VIP for the method " + method)
}

func (p *Plan) namespace(node string) string { return p.Prefix + "-" + node }

func (p *Plan) node(name string) Node {
	return Node{
		Name:      name,
		Namespace: p.namespace(name),
		Sysctls: []Sysctl{
			{Path: "net/ipv4/conf/all/rp_filter", Value: "0"},
			{Path: "net/ipv4/conf/default/rp_filter", Value: "0"},
			{Path: "net/ipv6/conf/all/accept_dad", Value: "0"},
			{Path: "net/ipv6/conf/default/accept_dad", Value: "0"},
			{Path: "net/ipv6/conf/all/accept_ra", Value: "0"},
			{Path: "net/ipv6/conf/default/accept_ra", Value: "0"},
		},
	}
}

func (p *Plan) client() Node {
	n := p.node(Client)
	n.Interfaces = []Interface{attach(outside, "eth0", 100)}
	// So that the servers' own connections find their way back through the director.
	n.Routes = []Route{
		{To: inside.V4, Via: host(outside.V4, 1), Interface: "eth0"},
		{To: inside.V6, Via: host(outside.V6, 1), Interface: "eth0"},
	}
	return n
}

func (p *Plan) director() Node {
	n := p.node(Director)
	eth0, eth1 := attach(outside, "eth0", 1), attach(inside, "eth1", 1)
	for _, v := range p.VIPs {
		eth0.Addresses = append(eth0.Addresses, netip.PrefixFrom(v.V4, 32), netip.PrefixFrom(v.V6, 128))
	}
	n.Interfaces = []Interface{eth0, eth1}
	n.Sysctls = append(n.Sysctls,
		Sysctl{Path: "net/ipv4/ip_forward", Value: "1"},
		Sysctl{Path: "net/ipv4/conf/all/send_redirects", Value: "0"},
		Sysctl{Path: "net/ipv4/conf/default/send_redirects", Value: "0"},
		Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"},
	)
	return n
}

// server plans web1, web2 …
func (p *Plan) server(i int) Node {
	n := p.node(fmt.Sprintf("web%d", i))
	n.Interfaces = []Interface{attach(outside, "eth0", 10+i), attach(inside, "eth1", 10+i)}
	for _, v := range p.VIPs {
		if v.Method != "nat" {
			n.Loopback = append(n.Loopback, netip.PrefixFrom(v.V4, 32), netip.PrefixFrom(v.V6, 128))
		}
	}
	for _, net := range []netip.Prefix{inside.V4, inside.V6} {
		n.Rules = append(n.Rules, Rule{From: net, Table: natTable})
		n.Routes = append(n.Routes,
			Route{To: net, Interface: "eth1", Table: natTable},
			Route{To: netip.PrefixFrom(unspecified(net), 0), Via: host(net, 1), Interface: "eth1", Table: natTable})
	}
	// A server must neither answer ARP for the VIP on its lo nor tell anybody of it (docs/getting-started.md).
	n.Sysctls = append(n.Sysctls,
		Sysctl{Path: "net/ipv4/conf/all/arp_ignore", Value: "1"},
		Sysctl{Path: "net/ipv4/conf/all/arp_announce", Value: "2"},
	)
	return n
}

// attach gives a node its place in a segment: number is the last part of its addresses and of its MAC address.
func attach(s Segment, name string, number int) Interface {
	arm := byte(0)
	if s.Name == inside.Name {
		arm = 1
	}
	return Interface{
		Name:    name,
		Segment: s,
		MAC:     net.HardwareAddr{0x02, 0, 0, 0, arm, byte(number)},
		Addresses: []netip.Prefix{
			netip.PrefixFrom(host(s.V4, number), s.V4.Bits()),
			netip.PrefixFrom(host(s.V6, number), s.V6.Bits()),
		},
	}
}

// host returns the address of a network whose last part reads as number: 192.0.2.11 and 2001:db8::11 for 11.
func host(network netip.Prefix, number int) netip.Addr {
	b := network.Addr().AsSlice()
	if network.Addr().Is4() {
		b[3] = byte(number)
	} else {
		b[14], b[15] = byte(number/100), byte(number/10%10<<4|number%10)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func unspecified(network netip.Prefix) netip.Addr {
	if network.Addr().Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
