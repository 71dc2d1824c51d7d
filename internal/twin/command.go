package twin

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

// Command carries out a line as the contract's section 4 has them: "ipvsadm ARGS…" (-A -E -D -C -Z -a -e -d --set with the
// options of the scope), "tunable NAME VALUE", "interface NAME mtu N", "neighbor ADDRESS MAC". An error changes nothing.
func (t *Twin) Command(now int64, line string) error {
	t.Advance(now)
	w := strings.Fields(line)
	if len(w) == 0 {
		return nil
	}
	switch {
	case w[0] == "ipvsadm":
		return t.ipvsadm(w[1:])
	case w[0] == "tunable" && len(w) == 3:
		v, err := strconv.Atoi(w[2])
		if _, known := t.tunables[w[1]]; !known || err != nil {
			return fmt.Errorf("tunable %s %s: outside the twin's scope", w[1], w[2])
		}
		t.tunables[w[1]] = v
		return nil
	case w[0] == "interface" && len(w) == 4 && w[2] == "mtu":
		n, err := strconv.Atoi(w[3])
		if err != nil {
			return err
		}
		for i := range t.cfg.Interfaces {
			if t.cfg.Interfaces[i].Name == w[1] {
				t.cfg.Interfaces[i].MTU = uint32(n)
				return nil
			}
		}
		return fmt.Errorf("interface %s: unknown", w[1])
	case w[0] == "neighbor" && len(w) == 3:
		a, err := netip.ParseAddr(w[1])
		if err != nil {
			return err
		}
		var m [6]byte
		if _, err := fmt.Sscanf(w[2], "%02x:%02x:%02x:%02x:%02x:%02x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]); err != nil {
			return err
		}
		t.cfg.Neighbors[a] = m
		return nil
	}
	return fmt.Errorf("command %q: outside the twin's scope", line)
}

// rule is a parsed command line of ipvsadm.
type rule struct {
	command      string
	proto        int
	service      netip.AddrPort
	server       netip.AddrPort
	scheduler    string
	method       string
	tunnel       tunnel
	weight       int
	upper, lower int
	persist      int
	mask         string
	set          []int
}

func parseRule(args []string) (r rule, err error) {
	r = rule{scheduler: "wlc", method: "dr", weight: 1}
	word := func() string {
		if len(args) == 0 {
			err = fmt.Errorf("ipvsadm: an argument is missing")
			return ""
		}
		w := args[0]
		args = args[1:]
		return w
	}
	number := func() int {
		n, e := strconv.Atoi(word())
		if e != nil {
			err = e
		}
		return n
	}
	address := func() netip.AddrPort {
		a, e := netip.ParseAddrPort(word())
		if e != nil {
			err = e
		}
		return a
	}
	for len(args) > 0 && err == nil {
		switch o := word(); o {
		case "-A", "-E", "-D", "-C", "-Z", "-a", "-e", "-d":
			r.command = o
		case "--set":
			r.command, r.set = o, []int{number(), number(), number()}
		case "-t":
			r.proto, r.service = protoTCP, address()
		case "-u":
			r.proto, r.service = protoUDP, address()
		case "-r":
			w := word()
			if r.server, err = netip.ParseAddrPort(w); err != nil {
				var a netip.Addr
				if a, err = netip.ParseAddr(strings.Trim(w, "[]")); err == nil {
					r.server = netip.AddrPortFrom(a, r.service.Port())
				}
			}
		case "-s":
			r.scheduler = word()
		case "-m":
			r.method = "nat"
		case "-g":
			r.method = "dr"
		case "-i":
			r.method = "tunnel"
		case "--tun-type":
			r.tunnel.kind = word()
		case "--tun-port":
			r.tunnel.port = uint16(number())
		case "--tun-csum":
			r.tunnel.sum = true
		case "-p":
			r.persist = number()
		case "-M":
			r.mask = word()
		case "-w":
			r.weight = number()
		case "-x":
			r.upper = number()
		case "-y":
			r.lower = number()
		default:
			return r, fmt.Errorf("ipvsadm %s: outside the twin's scope", o)
		}
	}
	switch r.scheduler {
	case "rr", "wrr", "lc", "wlc", "sh":
	default:
		return r, fmt.Errorf("scheduler %s: outside the twin's scope", r.scheduler)
	}
	if r.method != "nat" && (r.command == "-a" || r.command == "-e") {
		r.server = netip.AddrPortFrom(r.server.Addr(), r.service.Port())
	}
	return r, err
}

func (t *Twin) ipvsadm(args []string) error {
	r, err := parseRule(args)
	if err != nil {
		return err
	}
	if r.command == "-C" {
		for len(t.services) > 0 {
			t.deleteService(t.services[0])
		}
		return nil
	}
	if r.command == "-Z" {
		for _, s := range t.services {
			s.stats = stats{}
			for _, d := range s.servers {
				d.stats = stats{}
			}
		}
		return nil
	}
	if r.command == "--set" {
		for i, secs := range r.set {
			if secs == 0 {
				continue
			}
			switch i {
			case 0:
				t.tcp[stEstablished] = int64(secs) * second
			case 1:
				t.tcp[stFinWait] = int64(secs) * second
			case 2:
				t.udp = int64(secs) * second
			}
		}
		return nil
	}
	svc := t.find(r.proto, r.service.Addr(), r.service.Port())
	switch {
	case r.command == "-A" && svc != nil:
		return fmt.Errorf("service exists")
	case r.command == "-A":
		svc = &service{proto: r.proto, addr: r.service.Addr(), port: r.service.Port(), scheduler: r.scheduler}
		svc.lasting(r)
		svc.start()
		t.services = append(t.services, svc)
		return nil
	case svc == nil:
		return fmt.Errorf("no such service")
	case r.command == "-E":
		svc.lasting(r)
		if svc.scheduler != r.scheduler {
			svc.scheduler = r.scheduler
			svc.start()
		}
		return nil
	case r.command == "-D":
		t.deleteService(svc)
		return nil
	}
	var old *server
	for _, d := range svc.servers {
		if d.addr == r.server.Addr() && d.port == r.server.Port() {
			old = d
		}
	}
	set := r.command == "-a" || r.command == "-e"
	if set && r.lower > r.upper {
		return fmt.Errorf("thresholds out of range")
	}
	if set && r.method != "tunnel" && r.server.Addr().Is4() != svc.addr.Is4() {
		return fmt.Errorf("families differ")
	}
	switch {
	case r.command == "-a" && old != nil:
		return fmt.Errorf("server exists")
	case r.command == "-a":
		t.add(svc, &server{addr: r.server.Addr(), port: r.server.Port(), method: r.method, tunnel: r.tunnel, weight: r.weight, upper: r.upper, lower: r.lower})
	case old == nil:
		return fmt.Errorf("no such server")
	case r.command == "-e":
		old.method, old.tunnel, old.weight = r.method, r.tunnel, r.weight
		old.limit(r.upper, r.lower)
		svc.update()
	case r.command == "-d":
		t.remove(svc, old)
	default:
		return fmt.Errorf("no command")
	}
	return nil
}

// lasting sets the service's persistence.
func (s *service) lasting(r rule) {
	s.persist, s.mask = int64(r.persist)*second, s.addr.BitLen()
	if r.mask == "" {
		return
	}
	if m, err := netip.ParseAddr(r.mask); err == nil {
		s.mask = bits.OnesCount32(be.Uint32(m.AsSlice()))
		return
	}
	if n, err := strconv.Atoi(r.mask); err == nil {
		s.mask = n
	}
}

func (t *Twin) deleteService(svc *service) {
	for len(svc.servers) > 0 {
		t.remove(svc, svc.servers[0])
	}
	for i := range t.services {
		if t.services[i] == svc {
			t.services = append(t.services[:i:i], t.services[i+1:]...)
			return
		}
	}
}

// find is the service of exactly this protocol, address and port.
func (t *Twin) find(proto int, addr netip.Addr, port uint16) *service {
	for _, s := range t.services {
		if s.proto == proto && s.addr == addr && s.port == port {
			return s
		}
	}
	return nil
}
