package twin

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/ring"
)

// event is something that happens to a director: a frame arrives on a NIC, or a command is carried out.
type event struct {
	at      int64
	nic     int
	frame   []byte
	command string
	note    string // what the generator meant by it
}

func (e event) String() string {
	if e.command != "" {
		return fmt.Sprintf("%.3f %s", float64(e.at)/1e9, e.command)
	}
	return fmt.Sprintf("%.3f nic %d (%s) %s", float64(e.at)/1e9, e.nic, e.note, frameText(e.frame))
}

// frameText is a frame in hex; of a long one, the beginning and a checksum.
func frameText(b []byte) string {
	if len(b) <= 400 {
		return hex.EncodeToString(b)
	}
	return fmt.Sprintf("%x... %d bytes, sum %04x", b[:120], len(b), sum(b[120:]))
}

// dice is the generator's randomness: the given bytes first (so that a fuzzer can steer), then a seeded generator.
type dice struct {
	data []byte
	r    *rand.Rand
}

func (d *dice) n(n int) int {
	if len(d.data) > 0 && n <= 256 {
		b := d.data[0]
		d.data = d.data[1:]
		return int(b) % n
	}
	return d.r.IntN(n)
}

func (d *dice) one(in int) bool { return d.n(in) == 0 }

func pick[T any](d *dice, l ...T) T { return l[d.n(len(l))] }

var (
	macOut    = [6]byte{2, 0, 0, 0, 0, 0xa1}
	macIn     = [6]byte{2, 0, 0, 0, 0, 0xb1}
	macRouter = [6]byte{2, 0, 0, 0, 0, 0xee}
)

// site is the surroundings of every sequence: clients behind a router on "out", servers on "in" and on a VLAN of it.
func site() Config {
	pp := netip.MustParsePrefix
	c := Config{
		Interfaces: []neigh.Interface{
			{Name: "out", Parent: 0, MAC: macOut, MTU: 1500, Up: true, Addrs: []netip.Prefix{pp("192.0.2.1/24"), pp("2001:db8:a::1/64")}},
			{Name: "in", Parent: 1, MAC: macIn, MTU: 1500, Up: true, Addrs: []netip.Prefix{pp("10.0.0.1/24"), pp("fd00:b::1/64")}},
			{Name: "in.100", Parent: 1, VLAN: 100, MAC: macIn, MTU: 1500, Up: true, Addrs: []netip.Prefix{pp("10.0.1.1/24"), pp("fd00:c::1/64")}},
		},
		Neighbors: map[netip.Addr][6]byte{},
		Routes: []Route{
			{pp("0.0.0.0/0"), netip.MustParseAddr("192.0.2.254")},
			{pp("::/0"), netip.MustParseAddr("2001:db8:a::fe")},
			{pp("10.9.0.0/16"), netip.MustParseAddr("10.0.0.9")},
		},
	}
	for _, a := range []string{"192.0.2.254", "192.0.2.50", "2001:db8:a::fe", "10.0.0.9"} {
		c.Neighbors[netip.MustParseAddr(a)] = macRouter
	}
	for i := byte(1); i <= 8; i++ {
		for n, net := range []string{"10.0.0.1%d", "10.0.1.1%d", "fd00:b::1%d", "fd00:c::1%d"} {
			c.Neighbors[netip.MustParseAddr(fmt.Sprintf(net, i))] = [6]byte{2, 0, 0, 1, byte(n), i}
		}
	}
	return c
}

// vservice is a virtual service as the generator remembers it.
type vservice struct {
	proto   int
	addr    netip.AddrPort
	flag    string // ipvsadm's, with the address
	servers []string
	gone    []string // removed servers; the last one at goneAt
	goneAt  int64
	next    int
}

// gen makes a sequence of events. It watches a twin of its own, so that replies and ICMP errors fit what was sent.
type gen struct {
	*dice
	now      int64
	tw       *Twin
	services []*vservice
	events   []event
	toServer [][]byte // frames that the director sent to servers, and to clients
	toClient [][]byte
	fragID   int
	narrow   bool // small MTUs are tried
	wide     bool // MTUs beyond a frame of the dataplane's are, and packets to match
}

// sequence makes n events from a seed.
func sequence(data []byte, seed uint64, n int) []event {
	g := &gen{dice: &dice{data, rand.New(rand.NewPCG(seed, 7))}, tw: New(site()), fragID: 100}
	g.now = 1e9
	switch g.n(6) {
	case 0, 1:
		g.narrow = true
	case 2:
		g.wide = true
		for _, name := range pick(g.dice, []string{"out", "in", "in.100"}, []string{"out"}, []string{"in", "in.100"}) {
			g.run("interface %s mtu 9000", name)
		}
	}
	for range 1 + g.n(3) {
		g.addService()
	}
	for len(g.events) < n {
		g.step()
	}
	return g.events
}

func (g *gen) emit(e event) {
	e.at = g.now
	g.events = append(g.events, e)
	if e.command != "" {
		_ = g.tw.Command(e.at, e.command) // refused commands are part of the test
		return
	}
	for _, s := range g.tw.Receive(e.at, e.nic, e.frame).Sent {
		list := &g.toServer
		if s.Interface == 0 {
			list = &g.toClient
		}
		*list = append(*list, s.Frame)
	}
}

func (g *gen) run(format string, a ...any) { g.emit(event{command: fmt.Sprintf(format, a...)}) }

func (g *gen) addService() {
	s := &vservice{proto: pick(g.dice, protoTCP, protoUDP)}
	v6 := g.one(3)
	addr := pick(g.dice, "203.0.113.10", "203.0.113.11")
	if v6 {
		addr = "2001:db8:f::10"
	}
	s.addr = netip.AddrPortFrom(netip.MustParseAddr(addr), pick[uint16](g.dice, 80, 53))
	s.flag = map[int]string{protoTCP: "-t ", protoUDP: "-u "}[s.proto] + s.addr.String()
	for _, o := range g.services {
		if o.flag == s.flag {
			return
		}
	}
	g.services = append(g.services, s)
	g.run("ipvsadm -A %s -s %s%s", s.flag, pick(g.dice, "rr", "wrr", "lc", "wlc", "sh"), g.persistence(v6))
	for range 1 + g.n(3) {
		g.addServer(s)
	}
}

// addServer adds a real server. Its port is of its service alone, so that no two connections of a client can meet there.
func (g *gen) addServer(s *vservice) {
	s.next++
	if s.next > 8 {
		return
	}
	method := pick(g.dice, "-m", "-m", "-g", "-i")
	v6 := s.addr.Addr().Is6()
	if method == "-i" && g.one(3) {
		v6 = !v6
	}
	net := pick(g.dice, "10.0.0.1%d", "10.0.0.1%d", "10.0.1.1%d", "10.9.7.1%d") // the last behind a gateway
	if v6 {
		net = pick(g.dice, "fd00:b::1%d", "fd00:c::1%d")
	}
	port := s.addr.Port()
	if method == "-m" {
		port = 8000 + uint16(s.addr.Addr().As16()[15])*10 + s.addr.Port()%10 + uint16(s.proto)*100
	}
	a := netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(net, s.next)), port)
	if method == "-i" {
		method += pick(g.dice, "", "", " --tun-type gre", " --tun-type gre --tun-csum", " --tun-type gue --tun-port 6080",
			" --tun-type gue --tun-port 6080 --tun-csum")
	}
	line := fmt.Sprintf("-r %s %s", a, method)
	s.servers = append(s.servers, line)
	g.run("ipvsadm -a %s %s -w %d%s", s.flag, line, pick(g.dice, 1, 1, 2, 3, 0), g.thresholds())
}

func (g *gen) persistence(v6 bool) string {
	if !g.one(4) {
		return ""
	}
	if v6 {
		return pick(g.dice, " -p 17", " -p 103 -M 64")
	}
	return pick(g.dice, " -p 17", " -p 103 -M 255.255.255.0", " -p 307 -M 255.255.255.254")
}

func (g *gen) thresholds() string {
	if g.one(6) {
		return pick(g.dice, " -x 2", " -x 3 -y 1", " -x 4 -y 2")
	}
	return ""
}

// change alters the configuration.
func (g *gen) change() {
	s := pick(g.dice, g.services...)
	switch g.n(14) {
	case 0, 1:
		if len(s.servers) > 0 {
			g.run("ipvsadm -e %s %s -w %d%s", s.flag, pick(g.dice, s.servers...), g.n(4), g.thresholds())
		}
	case 2, 3:
		g.addServer(s)
	case 4, 5:
		if len(s.servers) > 0 {
			i := g.n(len(s.servers))
			g.run("ipvsadm -d %s %s", s.flag, strings.Join(strings.Fields(s.servers[i])[:2], " "))
			s.gone, s.goneAt = append(s.gone, s.servers[i]), g.now
			s.servers = append(s.servers[:i:i], s.servers[i+1:]...)
		}
	case 6:
		if age := g.now - s.goneAt; len(s.gone) > 0 && (age < 50*second || age > 2000*second) { // back again; in between is when it is forgotten, to the second
			l := s.gone[len(s.gone)-1]
			s.gone = s.gone[:len(s.gone)-1]
			s.servers = append(s.servers, l)
			g.run("ipvsadm -a %s %s -w %d", s.flag, l, 1+g.n(3))
		}
	case 7:
		g.run("ipvsadm --set %d %d %d", pick(g.dice, 0, 20, 900), pick(g.dice, 0, 15, 120), pick(g.dice, 0, 10, 300))
	case 8:
		g.run("ipvsadm -E %s -s %s%s", s.flag, pick(g.dice, "rr", "wrr", "lc", "wlc", "sh"), g.persistence(s.addr.Addr().Is6()))
	case 9:
		name := pick(g.dice, "in", "in.100", "out")
		if g.narrow {
			g.run("interface %s mtu %d", name, pick(g.dice, 1500, 1400, 1281, 1320))
		} else if g.wide {
			g.run("interface %s mtu %d", name, pick(g.dice, 9000, 9000, 1500, 4000, 3822, 1320, 65535))
		}
	case 10:
		g.run("tunable %s", pick(g.dice, "pmtu_disc 0", "pmtu_disc 1", "conn_reuse_mode 0", "conn_reuse_mode 1", "conn_reuse_mode 3", "sloppy_tcp 1", "sloppy_tcp 0", "expire_nodest_conn 0", "expire_nodest_conn 1", "expire_quiescent_template 1", "expire_quiescent_template 0"))
	case 11:
		g.addService()
	case 12:
		if g.one(2) {
			g.run("ipvsadm -Z")
		} else {
			g.run("ipvsadm -D %s", s.flag)
		}
	case 13: // the service again, empty
		g.run("ipvsadm -A %s -s %s", s.flag, pick(g.dice, "rr", "wlc"))
	}
}

// step makes one event or a few that belong together.
func (g *gen) step() {
	g.now += pick(g.dice, int64(0), 1e6, 1e6, 1e6, 1e6, 1e6, 5e8, 5e8, 2e9, 3e9, 9e9, 12e9, 58e9, 61e9, 125e9)
	switch g.n(20) {
	case 0, 1:
		g.change()
	case 2, 3, 4, 5:
		g.client(false)
	case 6, 7, 8:
		g.client(true)
	case 9, 10, 11, 12:
		g.reply()
	case 13:
		g.icmpAbout(g.toServer, 1)
	case 14:
		g.icmpAbout(g.toClient, 0)
	case 15, 16:
		g.fragments()
	case 17:
		g.mutate()
	case 18:
		g.stray()
	case 19:
		g.now += int64(g.n(250)) * 1e9
	}
}

func (g *gen) clientAddr(v6 bool) netip.AddrPort {
	a := fmt.Sprintf("198.51.100.%d", 1+g.n(4))
	if v6 {
		a = fmt.Sprintf("2001:db8:c::%x", 1+g.n(4))
	} else if g.one(8) {
		a = "192.0.2.50"
	}
	return netip.AddrPortFrom(netip.MustParseAddr(a), pick[uint16](g.dice, 1000, 1001, 1002, 20))
}

// ttl and size are ordinary mostly, and near a border sometimes.
func (g *gen) ttl() int {
	if g.one(12) {
		return pick(g.dice, -1, 1, 2)
	}
	return 64
}

func (g *gen) size(v6 bool, transport int) int {
	if !g.one(5) {
		return pick(g.dice, 0, 0, 1, 7, 100)
	}
	total := int(pick(g.dice, g.tw.cfg.Interfaces...).MTU)
	if g.wide && g.one(2) { // near the borders between frames, with the link header and a tag
		total = g.n(3)*ring.MaxPacket + pick(g.dice, 0, ring.MaxPacket-14, ring.MaxPacket-18) + pick(g.dice, 100, 1300)*g.n(2)
	}
	total = min(total+pick(g.dice, 0, 0, 1, -1, -20, -19, -40, -39, -24, -28, -32, -52), 65535)
	if v6 {
		return total - 40 - transport
	}
	return total - 20 - transport
}

// client sends a packet from a client to a service: a SYN (or a datagram) when opening.
func (g *gen) client(opening bool) {
	v := pick(g.dice, g.services...)
	s := frameSpec{to: macOut, from: macRouter, src: g.clientAddr(v.addr.Addr().Is6()), dst: v.addr, proto: v.proto}
	s.flags = flagSYN
	if !opening {
		if n := len(g.tw.conns); n > 0 && !g.one(6) {
			c := g.tw.conns[n-1-g.n(min(n, 12))]
			s.src, s.dst, s.proto = c.client, c.virtual, c.proto
		}
		s.flags = pick(g.dice, flagACK, flagACK, flagACK|8, flagFIN|flagACK, flagFIN|flagACK, flagRST, flagRST|flagACK, flagSYN|flagACK, flagSYN, 0, 8, flagSYN|flagFIN, flagSYN|flagRST)
	}
	g.fill(&s)
	g.emit(event{nic: 0, frame: build(s), note: "client"})
}

// fill sets what does not matter to who and where.
func (g *gen) fill(s *frameSpec) {
	v6 := s.src.Addr().Is6()
	s.ttl, s.tos, s.id, s.df = g.ttl(), pick(g.dice, 0, 0, 0x10, 3, 1, 0xb8), g.n(65536), g.one(2) && !v6
	s.seq, s.ack = uint32(g.n(1000)), uint32(g.n(1000))
	s.sum = pick(g.dice, "", "", "", "", "", "", "zero", "bad")
	if v6 && s.sum == "zero" {
		s.sum = ""
	}
	if g.one(12) && !v6 {
		s.options = pick(g.dice, []byte{1, 1, 1, 0}, []byte{0x94, 4, 0, 0}, []byte{7, 7, 4, 0, 0, 0, 0, 0})
	}
	if v6 && g.one(8) {
		s.extra = pick(g.dice, []byte{0, 0, 1, 4, 0, 0, 0, 0}, []byte{60, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	s.size = max(0, g.size(v6, map[int]int{protoTCP: 20, protoUDP: 8}[s.proto])-len(s.options)-len(s.extra))
}

// reply sends a packet of a connection's server, or what a DR server would send straight to the client.
func (g *gen) reply() {
	c := g.natConn()
	if c == nil {
		g.client(true)
		return
	}
	s := frameSpec{to: macIn, from: macRouter, src: c.dst, dst: c.client, proto: c.proto, vlans: g.tagsOf(c.dst.Addr())}
	s.flags = pick(g.dice, flagSYN|flagACK, flagSYN|flagACK, flagACK, flagACK, flagACK|8, flagFIN|flagACK, flagFIN|flagACK, flagRST|flagACK, flagRST, 0)
	g.fill(&s)
	g.emit(event{nic: 1, frame: build(s), note: "reply"})
}

// natConn is one of the latest NAT connections, or nil.
func (g *gen) natConn() *conn {
	var l []*conn
	for _, c := range g.tw.conns {
		if c.method == "nat" {
			l = append(l, c)
		}
	}
	if len(l) == 0 {
		return nil
	}
	return l[len(l)-1-g.n(min(len(l), 8))]
}

// tagsOf are the VLAN tags with which a server's frames come.
func (g *gen) tagsOf(a netip.Addr) []uint16 {
	if p, ok := g.tw.route(a); ok && g.tw.cfg.Interfaces[p.iface].VLAN != 0 {
		return []uint16{g.tw.cfg.Interfaces[p.iface].VLAN}
	}
	return nil
}

// linkHeader is the length of a frame's link header, and its VLAN tags.
func linkHeader(f []byte) (n int, tags []uint16) {
	for n = 14; len(f) >= n+4 && be.Uint16(f[n-2:]) == 0x8100; n += 4 {
		tags = append(tags, be.Uint16(f[n:])&0xfff)
	}
	return n, tags
}

// icmpAbout sends an ICMP error that quotes a frame which the director sent, back to that frame's source.
func (g *gen) icmpAbout(sent [][]byte, nic int) {
	if len(sent) == 0 {
		g.client(true)
		return
	}
	f := sent[len(sent)-1-g.n(min(len(sent), 8))]
	l3, tags := linkHeader(f)
	quoted := f[l3:]
	p, _ := decode(quoted)
	if p == nil || p.fragment || isError(p) {
		return
	}
	v6 := p.v6
	_, port, _ := p.ports()
	if p.proto == protoIPIP || p.proto == protoIPv6 || p.proto == protoGRE || port == 6080 { // an error from a tunnel's path is outside the scope
		return
	}
	if long := g.wide && g.one(2); len(quoted) > 548 && !long || g.one(3) {
		n := len(quoted)
		if v6 {
			n = min(n, pick(g.dice, 48, 60, 1232))
		} else {
			n = min(n, pick(g.dice, p.head+8, p.head+8, 100, 548))
		}
		quoted = quoted[:n]
	}
	body := append([]byte{3, byte(pick(g.dice, 0, 1, 3, 4)), 0, 0, 0, 0, 5, 0x14}, quoted...)
	body[0] = byte(pick(g.dice, 3, 3, 11, 4, 12, 5, 0, 8))
	s := frameSpec{to: macOut, from: macRouter, vlans: tags, proto: protoICMP, ttl: g.ttl(), tos: pick(g.dice, 0, 0xc0), id: g.n(65536), df: g.one(2)}
	from := pick(g.dice, "198.51.100.77", "192.0.2.254")
	if nic == 1 {
		s.to = macIn
		from = p.dst.String()
		if g.tw.virtual(p.dst) {
			return
		}
	}
	if v6 {
		body[0] = byte(pick(g.dice, 1, 2, 3, 4, 128))
		s.proto, s.df = protoICMP6, false
		if nic == 0 {
			from = "2001:db8:77::1"
		}
	}
	s.src, s.dst = netip.AddrPortFrom(netip.MustParseAddr(from), 0), netip.AddrPortFrom(p.src, 0)
	c := &ip{src: s.src.Addr(), dst: s.dst.Addr()}
	if v6 {
		be.PutUint16(body[2:], ^fold(words(body)+pseudo(c, protoICMP6, len(body))))
	} else {
		be.PutUint16(body[2:], sum(body))
	}
	if g.one(10) {
		body[3] ^= 0x40
	}
	s.body = body
	g.emit(event{nic: nic, frame: build(s), note: "icmp"})
}

// fragments sends a datagram in pieces: in any order, with a piece missing, twice, or overlapping.
func (g *gen) fragments() {
	v := pick(g.dice, g.services...)
	s := frameSpec{to: macOut, from: macRouter, src: g.clientAddr(v.addr.Addr().Is6()), dst: v.addr, proto: v.proto, flags: flagSYN}
	nic := 0
	if c := g.natConn(); c != nil && g.one(3) {
		s = frameSpec{to: macIn, from: macRouter, src: c.dst, dst: c.client, proto: c.proto, flags: flagACK, vlans: g.tagsOf(c.dst.Addr())}
		nic = 1
	} else if n := len(g.tw.conns); n > 0 && g.one(3) {
		c := g.tw.conns[g.n(n)]
		s.src, s.dst, s.proto, s.flags = c.client, c.virtual, c.proto, flagACK
	}
	g.fill(&s)
	s.size = pick(g.dice, 1200, 2000, 2960, 100, 3000, 4000)
	if g.wide && g.one(2) {
		s.size = pick(g.dice, 4000, 8950, 9000, 17000, 20000, 40000, 60000, 65450, 65490, 65507, 65520, 65527)
	}
	s.options, s.extra = nil, nil
	s.df = s.df && nic == 0 && s.size > 1500
	if nic == 1 { // the kernel checks the TTL of replies before it reassembles them
		s.ttl = max(s.ttl, 2)
	}
	g.fragID++
	s.id = g.fragID
	l4 := s.transport()
	head := s.header(s.proto, nil)
	p := &ip{raw: append(head, l4...), v6: s.src.Addr().Is6(), head: len(head)}
	df := s.df && !p.v6
	var sizes []int
	piece := pick(g.dice, 512, 1480, 1448, 1232, 1000, 24, 8) // of data, a multiple of 8
	if piece < 100 && s.size > 300 {
		piece = 504
	}
	if g.wide && g.one(2) {
		piece = pick(g.dice, 8976, 8952, 8928, 4400, 3808, 3816, 3800)
	}
	if s.size > 24*piece {
		piece = pick(g.dice, 8976, 4400)
	}
	for left := len(l4); left > 0; left -= piece {
		sizes = append(sizes, min(left, piece))
	}
	if len(sizes) > 2 && g.one(4) { // unequal pieces
		sizes[0], sizes[1] = sizes[0]-8, sizes[1]+8
	}
	if p.v6 {
		be.PutUint16(p.raw[4:], uint16(len(l4)))
	}
	pieces := cut(p, 0, sizes, uint32(g.fragID))
	if len(pieces) < 2 && !p.v6 {
		return
	}
	if df {
		every := 1 + g.n(4)/3*g.n(3) // of all, of every second or third
		for i := 0; i < len(pieces); i += every {
			pieces[i][6] |= 0x40
			headerSum(pieces[i])
		}
	}
	switch g.n(5) {
	case 0, 1: // in order
	case 2: // backwards
		for i, j := 0, len(pieces)-1; i < j; i, j = i+1, j-1 {
			pieces[i], pieces[j] = pieces[j], pieces[i]
		}
	case 3:
		g.r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
	case 4:
		i := g.n(len(pieces))
		if g.one(2) {
			pieces = append(pieces[:i:i], pieces[i+1:]...) // one is lost
		} else {
			pieces = append(pieces[:i+1:i+1], pieces[i:]...) // one comes twice
		}
	}
	for _, b := range pieces {
		g.emit(event{nic: nic, frame: s.frame(b), note: "fragment"})
		if g.one(10) {
			g.now += int64(g.n(12)) * 1e9
		}
	}
}

// mutate sends an earlier frame again with a few bytes changed.
func (g *gen) mutate() {
	var l []event
	for _, e := range g.events[max(0, len(g.events)-20):] {
		if e.frame != nil && e.note != "garbage" {
			l = append(l, e)
		}
	}
	if len(l) == 0 {
		return
	}
	e := pick(g.dice, l...)
	b := append([]byte(nil), e.frame...)
	l3, _ := linkHeader(b)
	switch g.n(5) {
	case 0: // cut off, or with padding behind
		if g.one(2) {
			b = b[:g.n(len(b))]
		} else {
			b = append(b, make([]byte, 1+g.n(20))...)
		}
	case 1: // anywhere
		for range 1 + g.n(3) {
			b[g.n(min(len(b), 80))] ^= byte(1 << g.n(8))
		}
	default: // in the IP header and behind it, with a right header checksum where there is one
		for range 1 + g.n(2) {
			if at := l3 + g.n(60); at < len(b) {
				b[at] ^= byte(1 << g.n(8))
			}
		}
		if len(b) >= l3+20 && b[l3]>>4 == 4 && b[l3]&15 >= 5 {
			headerSum(b[l3:])
		}
	}
	e.frame, e.note = b, "garbage"
	g.emit(e)
}

// stray sends what is nobody's business.
func (g *gen) stray() {
	v := pick(g.dice, g.services...)
	s := frameSpec{to: macOut, from: macRouter, src: g.clientAddr(v.addr.Addr().Is6()), dst: v.addr, proto: v.proto, flags: flagSYN}
	switch g.n(8) {
	case 6: // sources that nobody may answer, or that must not leave the host
		a := pick(g.dice, "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.0.12")
		if s.src.Addr().Is6() {
			a = pick(g.dice, "::", "ff02::1", "::1", "fd00:b::12")
		}
		s.src = netip.AddrPortFrom(netip.MustParseAddr(a), s.src.Port())
	case 7: // through an upper-layer packet that is itself wrapped
		s.proto, s.body = pick(g.dice, 4, 41, 50, 51, 132), make([]byte, 40)
	case 0:
		s.dst = netip.AddrPortFrom(v.addr.Addr(), 4444)
	case 1:
		s.to[5] = 0x77
	case 2:
		s.proto, s.body = protoICMP, []byte{8, 0, 0, 0, 0, 1, 0, 1}
		if s.src.Addr().Is6() {
			s.proto, s.body[0] = protoICMP6, 128
		}
	case 3:
		s.proto, s.body = 47, make([]byte, 12)
	case 4:
		s.vlans = []uint16{uint16(g.n(200))}
	case 5:
		s.to = macIn
		g.emit(event{nic: 1, frame: build(s), note: "client on the servers' side"})
		return
	}
	g.emit(event{nic: 0, frame: build(s), note: "stray"})
}
