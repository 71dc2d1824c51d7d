package conformance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fastlb/fastlb/conformance/wire"
)

// Sequences are lives of directors drawn at random: services of every kind, packets that fit and packets that do not,
// changes and waits.
func Sequences(seed uint64, n int) (l []wire.Case) {
	for i := range n {
		l = append(l, write(fmt.Sprintf("random/%d-%d", seed, i), seed*1_000_003+uint64(i), func(a *author) {
			s := &sequence{author: a, id: 100}
			for range 1 + a.IntN(3) {
				s.addService()
			}
			for range 80 {
				s.step()
			}
			a.details()
			a.end()
		}))
	}
	return l
}

// sequence is a random case being written.
type sequence struct {
	*author
	services []*random
	open     []*conversation
	id       int // of fragments
}

// random is a service of it.
type random struct {
	proto   string
	family  int
	virtual netip.AddrPort
	option  string
	servers []string // -r ADDRESS METHOD
	next    int

	onePacket bool
}

func one[T any](a *author, l ...T) T { return l[a.IntN(len(l))] }

func (s *sequence) addService() {
	r := &random{proto: one(s.author, "tcp", "tcp", "udp", "udp", "sctp"), family: one(s.author, 4, 4, 6)}
	r.virtual = netip.AddrPortFrom(wire.Virtual(r.family, 1+s.IntN(2)), one[uint16](s.author, 80, 53))
	r.option = flag(r.proto) + " " + r.virtual.String()
	for _, o := range s.services {
		if o.option == r.option {
			return
		}
	}
	extra := ""
	if s.IntN(4) == 0 {
		extra = " -p 360"
		if s.IntN(2) == 0 {
			extra += map[int]string{4: " -M 255.255.255.248", 6: " -M 125"}[r.family]
		}
	} else if r.proto == "udp" && s.IntN(4) == 0 {
		extra, r.onePacket = " -o", true
	}
	s.run("ipvsadm -A %s -s %s%s", r.option, s.scheduler(), extra)
	s.services = append(s.services, r)
	for range 1 + s.IntN(3) {
		s.addServer(r)
	}
}

func (s *sequence) scheduler() string {
	return schedulers[s.IntN(len(schedulers)-1)] // the last draws lots
}

func (s *sequence) addServer(r *random) {
	if r.next++; r.next > wire.Servers {
		return
	}
	family := r.family
	method := one(s.author, "-m", "-m", "-m", "-g", "-g", "-i", "-i --tun-type gre --tun-csum",
		fmt.Sprintf("-i --tun-type gue --tun-port %d --tun-%s", guePort, one(s.author, "nocsum", "csum", "remcsum")))
	if method[1] == 'i' && s.IntN(3) == 0 {
		family = 10 - family
	}
	port := r.virtual.Port()
	if method == "-m" { // of its service alone, so that no two connections of a client can meet there
		port = 8000 + uint16(r.virtual.Addr().As16()[15])*10 + port%10 + uint16(len(r.proto))*100 + uint16(r.proto[0])*10
	}
	line := fmt.Sprintf("-r %s %s", netip.AddrPortFrom(wire.Server(family, r.next), port), method)
	s.run("ipvsadm -a %s %s -w %d%s", r.option, line, one(s.author, 1, 1, 2, 3, 0), s.thresholds())
	r.servers = append(r.servers, line)
}

func (s *sequence) thresholds() string {
	if s.IntN(6) == 0 {
		return one(s.author, " -x 2", " -x 3 -y 1", " -x 4 -y 2")
	}
	return ""
}

// step makes one event, or a few that belong together.
func (s *sequence) step() {
	switch s.IntN(20) {
	case 0, 1:
		s.change()
	case 2, 3, 4, 5, 6, 7:
		s.begin()
	case 8, 9, 10:
		s.client()
	case 11, 12, 13:
		s.reply()
	case 14:
		s.errorAbout("r")
	case 15:
		s.errorAbout("c")
	case 16:
		s.pieces()
	case 17:
		s.wait(one[int64](s.author, 100, 700, 2500, 11000, 31000, 61000, 125000))
	case 18:
		s.stray()
	case 19:
		if s.IntN(3) == 0 {
			s.dump()
		}
	}
}

// change alters the configuration.
func (s *sequence) change() {
	r := one(s.author, s.services...)
	switch s.IntN(12) {
	case 0, 1, 2:
		if len(r.servers) > 0 {
			s.run("ipvsadm -e %s %s -w %d%s", r.option, one(s.author, r.servers...), s.IntN(4), s.thresholds())
		}
	case 3, 4:
		s.addServer(r)
	case 5, 6:
		if len(r.servers) > 0 {
			i := s.IntN(len(r.servers))
			s.run("ipvsadm -d %s %s", r.option, strings.Join(strings.Fields(r.servers[i])[:2], " "))
			r.servers = slices.Delete(r.servers, i, i+1)
		}
	case 7:
		s.run("ipvsadm --set %d %d %d", one(s.author, 0, 20, 900), one(s.author, 0, 15, 120), one(s.author, 0, 10, 300))
	case 8:
		s.run("tunable %s", one(s.author, "pmtu_disc 0", "pmtu_disc 1", "conn_reuse_mode 0", "conn_reuse_mode 1", "sloppy_tcp 1", "sloppy_tcp 0", "sloppy_sctp 1",
			"expire_nodest_conn 0", "expire_nodest_conn 1", "expire_quiescent_template 1", "expire_quiescent_template 0", "nat_icmp_send 1", "nat_icmp_send 0", "schedule_icmp 1", "schedule_icmp 0"))
	case 9:
		s.addService()
	case 10:
		s.wait(4500) // what the kernel has not added up yet is not zeroed
		s.run("ipvsadm -Z")
	case 11:
		if len(s.services) > 1 {
			s.run("ipvsadm -D %s", r.option)
			s.services = slices.DeleteFunc(s.services, func(o *random) bool { return o == r })
		}
	}
}

func (s *sequence) from(family int) netip.AddrPort {
	return client(family, s.IntN(5), one[uint16](s.author, 1000, 1001, 1002, 20))
}

// more are properties of a packet that do not matter to who and where.
func (s *sequence) more(family int, proto string) string {
	b := fmt.Sprintf(" tos=%d id=%d", one(s.author, 0, 0, 0x10, 3, 1, 0xb8), s.IntN(65536))
	if s.IntN(12) == 0 {
		b += fmt.Sprintf(" ttl=%d", 1+s.IntN(2))
	}
	if family == 4 && s.IntN(2) == 0 {
		b += " df"
	}
	if family == 6 && s.IntN(8) == 0 {
		b += " exthdr=1"
	}
	if proto == "sctp" {
		return b
	}
	if s.IntN(10) == 0 {
		b += " csum=bad"
	}
	n := one(s.author, 0, 0, 1, 7, 100)
	if s.IntN(5) == 0 {
		n = 1500 - one(s.author, 0, 1, 20, 19, 40, 39, 60) - map[int]int{4: 20, 6: 48}[family] - map[string]int{"tcp": 20, "udp": 8}[proto]
	}
	return b + fmt.Sprintf(" len=%d", n)
}

func (s *sequence) begin() {
	r := one(s.author, s.services...)
	c := s.author.begin(r.proto, s.from(r.family), r.virtual, s.more(r.family, r.proto))
	if c.number == 0 {
		return
	}
	s.open = append(s.open, c)
	if s.IntN(2) == 0 {
		s.down(c, map[string]string{"tcp": "SA seq=5000 ack=1001", "udp": "len=8", "sctp": "chunk=2"}[r.proto])
		if r.proto != "udp" {
			s.up(c, map[string]string{"tcp": "A seq=1001 ack=5001", "sctp": "chunk=10"}[r.proto])
		}
	}
}

// about is one of the latest connections, or nil.
func (s *sequence) about(nat bool) *conversation {
	var l []*conversation
	for _, c := range s.open {
		if c.nat || !nat {
			l = append(l, c)
		}
	}
	if len(l) == 0 {
		return nil
	}
	return l[len(l)-1-s.IntN(min(len(l), 8))]
}

func family(c *conversation) int {
	if c.client.Addr().Is6() {
		return 6
	}
	return 4
}

// any is a packet of a protocol in any state.
func (s *sequence) any(proto string) string {
	switch proto {
	case "tcp":
		return one(s.author, "A", "A", "PA", "FA", "FA", "R", "RA", "SA", "S", "P", "SF", "SR")
	case "sctp":
		return fmt.Sprintf("chunk=%d", one(s.author, 0, 0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 14))
	}
	return ""
}

func (s *sequence) client() {
	if c := s.about(false); c != nil {
		s.up(c, s.any(c.proto)+s.more(family(c), c.proto))
		return
	}
	s.begin()
}

func (s *sequence) reply() {
	if c := s.about(true); c != nil {
		s.down(c, s.any(c.proto)+s.more(family(c), c.proto))
		return
	}
	s.begin()
}

// errorAbout sends an ICMP error that quotes what was sent last to the servers (r) or to the clients (c).
func (s *sequence) errorAbout(side string) {
	q := s.last[side]
	if q == nil {
		return
	}
	src, dst := endpoints(q)
	proto, _ := transport(q)
	if tunnelled(q) && side == "c" || proto == 1 || proto == 58 || proto == 44 { // the director's own, errors, fragments
		return
	}
	from := "198.51.100.77"
	name, kind := "icmp", one(s.author, "type=3 code=1", "type=3 code=3", "type=3 code=4 mtu=1400", "type=11", "type=12", "type=4")
	quote := one(s.author, 28, 48, 100, 548)
	if src.Is6() {
		name, kind, from = "icmp6", one(s.author, "type=1 code=0", "type=1 code=4", "type=2 mtu=1400", "type=3", "type=4 code=1"), "2001:db8:77::1"
		quote = one(s.author, 48, 60, 88, 1000)
	}
	if side == "r" {
		from = dst.String()
		if own(dst) { // a DR server, which would answer from the virtual address
			return
		}
	}
	s.in(side, "%s %s > %s %s inner=%s q=%d", name, from, src, kind, side, quote)
}

// pieces sends a datagram in fragments.
func (s *sequence) pieces() {
	r := one(s.author, s.services...)
	if r.proto == "sctp" {
		return
	}
	s.id++
	text := fmt.Sprintf("len=%d frag=%d id=%d", one(s.author, 1200, 2000, 2960, 3000, 4000), one(s.author, 512, 1448, 1232, 1000), s.id)
	if s.IntN(2) == 0 {
		text += " reverse"
	}
	// A reply to a connection of one packet is routed by the kernel, which is not what is compared.
	if c := s.about(true); c != nil && c.proto != "sctp" && s.IntN(3) == 0 && !s.onePacket(c.virtual) {
		s.down(c, packet(c.proto, false)+" "+text)
		return
	}
	if c := s.about(false); c != nil && c.proto != "sctp" && s.IntN(2) == 0 {
		s.up(c, packet(c.proto, true)+" "+text)
		return
	}
	first := "S "
	if r.proto == "udp" {
		first = ""
	}
	s.in("c", "%s %s > %s %s%s", r.proto, s.from(r.family), r.virtual, first, text)
}

// onePacket tells whether a service's connections last for one packet.
func (s *sequence) onePacket(virtual netip.AddrPort) bool {
	return slices.ContainsFunc(s.services, func(r *random) bool { return r.virtual == virtual && r.proto == "udp" && r.onePacket })
}

// stray sends what belongs to no connection.
func (s *sequence) stray() {
	r := one(s.author, s.services...)
	from := s.from(r.family)
	switch s.IntN(5) {
	case 0:
		s.in("c", "%s %s > %s %s", r.proto, from, netip.AddrPortFrom(r.virtual.Addr(), 4444), packet(r.proto, true))
	case 1:
		if r.family == 6 {
			s.in("c", "icmp6 %s > %s type=128 rest=0x10001", from.Addr(), r.virtual.Addr())
		} else {
			s.in("c", "icmp %s > %s type=8 icmpid=1 icmpseq=1", from.Addr(), r.virtual.Addr())
		}
	case 2:
		s.in("c", "47 %s > %s body=%s", from.Addr(), r.virtual.Addr(), strings.Repeat("00", 12))
	case 3: // a server speaks to a client unasked
		s.in("r", "%s %s > %s %s", r.proto, netip.AddrPortFrom(wire.Server(r.family, 1+s.IntN(3)), 5555), from, packet(r.proto, false))
	case 4:
		s.in("c", "%s %s > %s %s", r.proto, from, r.virtual, s.any(r.proto))
	}
}
