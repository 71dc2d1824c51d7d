package conformance

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/conformance/wire"
)

// schedulers are all of them with their flags. twos draws lots: of its cases only whether packets are sent is compared.
var schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sh -b sh-port", "sh -b sh-fallback", "sh -b sh-port,sh-fallback",
	"sed", "nq", "fo", "ovf", "mh", "mh -b mh-port", "mh -b mh-fallback", "twos"}

// Schedulers has each scheduler choose servers for random connections while servers come, go, change weight and fill up.
func Schedulers(seed uint64, each int) (l []wire.Case) {
	for i, s := range schedulers {
		for n := range each {
			l = append(l, write(fmt.Sprintf("%s/%d-%d", s, seed, n), seed*1000+uint64(i*each+n), func(a *author) { schedule(a, s) }))
		}
	}
	return l
}

// pool is a service with servers that come and go.
type pool struct {
	a        *author
	proto    string
	family   int
	service  string // ipvsadm's option and address
	virtuals []netip.AddrPort
	in       []int          // numbers of the servers that are there
	options  map[int]string // forwarding method of each
	open     []*conversation
	next     int // client port
	lots     bool
}

// server is a server as ipvsadm takes it.
func (p *pool) server(i int) string {
	port := 80
	if p.options[i] == "-m" {
		port = 8080
	}
	return netip.AddrPortFrom(wire.Server(p.family, i), uint16(port)).String()
}

func (p *pool) thresholds() string {
	if p.lots || p.a.IntN(5) > 0 {
		return ""
	}
	return []string{" -x 2", " -x 3 -y 1", " -x 5 -y 4", " -x 1"}[p.a.IntN(4)]
}

func (p *pool) add(i int) {
	p.a.run("ipvsadm -a %s -r %s %s -w %d%s", p.service, p.server(i), p.options[i], []int{1, 1, 1, 2, 3, 5, 10, 0}[p.a.IntN(8)], p.thresholds())
	p.in = append(p.in, i)
}

func schedule(a *author, scheduler string) {
	p := &pool{a: a, proto: "tcp", family: 4, options: map[int]string{}, next: 1024, lots: scheduler == "twos"}
	if a.IntN(4) == 0 {
		p.family = 6
	}
	if a.IntN(5) == 0 {
		p.proto = "udp"
	}
	for i := 1; i <= wire.Servers; i++ {
		p.options[i] = []string{"-m", "-g", "-g", "-i"}[a.IntN(4)]
	}
	p.virtuals = []netip.AddrPort{netip.AddrPortFrom(wire.Virtual(p.family, 1), 80)}
	p.service = fmt.Sprintf("%s %s", flag(p.proto), p.virtuals[0])
	if a.IntN(3) == 0 { // two addresses, for those that look at them
		p.virtuals = append(p.virtuals, netip.AddrPortFrom(wire.Virtual(p.family, 2), 80))
		p.service = "-f 5"
		if p.family == 6 {
			p.service = "-f 5 -6"
		}
		for _, v := range p.virtuals {
			a.run("mark 5 %s %s %d", v.Addr(), p.proto, v.Port())
		}
	}
	a.run("ipvsadm -A %s -s %s", p.service, scheduler)
	for i := range 2 + a.IntN(5) {
		p.add(i + 1)
	}
	for range 70 {
		p.step(scheduler)
	}
	a.details()
	a.end()
}

// step is one event of a pool's life.
func (p *pool) step(scheduler string) {
	a := p.a
	switch n := a.IntN(40); {
	case n < 20:
		p.connect()
	case n < 26 && len(p.open) > 0:
		i := a.IntN(len(p.open))
		c := p.open[i]
		p.open = slices.Delete(p.open, i, i+1)
		switch {
		case c.proto == "udp" || p.lots:
		case n < 24:
			a.close(c)
		default:
			a.up(c, "R seq=1001")
		}
	case n < 31 && len(p.in) > 0:
		i := p.in[a.IntN(len(p.in))]
		a.run("ipvsadm -e %s -r %s %s -w %d%s", p.service, p.server(i), p.options[i], a.IntN(6), p.thresholds())
	case n < 33 && len(p.in) > 1:
		k := a.IntN(len(p.in))
		a.run("ipvsadm -d %s -r %s", p.service, p.server(p.in[k]))
		p.in = slices.Delete(p.in, k, k+1)
	case n < 36:
		if i := 1 + a.IntN(wire.Servers); !slices.Contains(p.in, i) {
			p.add(i)
		}
	case n == 36:
		a.run("ipvsadm -E %s -s %s", p.service, scheduler)
	case n == 37:
		a.wait(int64([]int{500, 2000, 5000, 20000, 65000}[a.IntN(5)]))
	case n == 38:
		a.dump()
	}
}

// connect opens a connection from somewhere.
func (p *pool) connect() {
	a := p.a
	p.next++
	from := client(p.family, a.IntN(40), uint16(p.next))
	to := p.virtuals[a.IntN(len(p.virtuals))]
	var c *conversation
	if p.proto == "udp" || p.lots || a.IntN(3) == 0 {
		c = a.begin(p.proto, from, to, "")
	} else {
		c = a.open(from, to)
	}
	if c.number != 0 {
		p.open = append(p.open, c)
	}
}
