package twin

import "net/netip"

// stats are counters of a server or a service.
type stats struct{ Conns, InPkts, OutPkts, InBytes, OutBytes uint64 }

type service struct {
	proto     int
	addr      netip.Addr
	port      uint16
	scheduler string
	servers   []*server // head first: the latest added is the first
	stats     stats
	persist   int64 // persistence timeout; 0: not persistent
	mask      int   // prefix length of a client's network

	rr      *server // the server that rr chose last; nil: none yet
	wrr     int     // index that wrr looked at last; -1: before the head
	bar     int     // wrr's current weight
	max     int     // wrr
	step    int     // wrr: the weights' greatest common divisor
	buckets []*server
}

type server struct {
	svc              *service
	addr             netip.Addr
	port             uint16
	method           string // nat, dr, tunnel
	tunnel           tunnel
	weight           int
	upper, lower     int
	active, inactive int
	persistent       int // templates
	overload         bool
	available        bool
	stats            stats

	idle int64 // trash: when it was first found without connections; 0: not yet
}

func (s *server) usable() bool { return !s.overload && s.weight > 0 }

func (s *server) load() int { return s.active*257 + s.inactive }

func (s *server) total() int { return s.active + s.inactive }

func (s *server) lowMark() int {
	if s.lower != 0 {
		return s.lower
	}
	return s.upper - s.upper/4
}

// bind counts a new connection, inactive as yet.
func (s *server) bind() {
	s.inactive++
	if s.upper != 0 && s.total() == s.upper {
		s.overload = true
	}
}

func (s *server) unbind(active bool) {
	if active {
		s.active--
	} else {
		s.inactive--
	}
	if s.upper != 0 && s.total() < s.lowMark() {
		s.overload = false
	}
}

// limit changes the thresholds.
func (s *server) limit(upper, lower int) {
	s.upper, s.lower = upper, lower
	switch {
	case upper == 0 || s.total() < s.lowMark():
		s.overload = false
	case s.total() >= upper:
		s.overload = true
	}
}

// add links a server at the head of the list, with its old counters if it was removed a while ago.
func (t *Twin) add(svc *service, n *server) {
	s := n
	for i, old := range t.trash {
		if old.addr == n.addr && old.port == n.port && old.svc.proto == svc.proto && old.svc.addr == svc.addr && old.svc.port == svc.port {
			t.trash = append(t.trash[:i:i], t.trash[i+1:]...)
			if old.svc != svc {
				old.stats = stats{}
			}
			s = old
			s.method, s.tunnel, s.weight = n.method, n.tunnel, n.weight
			break
		}
	}
	s.svc, s.available, s.idle = svc, true, 0
	s.limit(n.upper, n.lower)
	svc.servers = append([]*server{s}, svc.servers...)
	svc.update()
}

func (t *Twin) remove(svc *service, s *server) {
	for i := range svc.servers {
		if svc.servers[i] != s {
			continue
		}
		if svc.rr == s {
			svc.rr = nil
			if i > 0 {
				svc.rr = svc.servers[i-1]
			}
		}
		svc.servers = append(svc.servers[:i:i], svc.servers[i+1:]...)
		break
	}
	s.available = false
	if len(t.trash) == 0 {
		t.trashAt = t.now + 60*second
	}
	t.trash = append(t.trash, s)
	svc.update()
	if t.tunables["expire_nodest_conn"] != 0 {
		for _, c := range append([]*conn(nil), t.conns...) {
			if !c.server.available && c.controls == 0 {
				t.unlink(c)
				if c.control != nil && c.control.controls == 0 {
					t.unlink(c.control)
				}
			}
		}
	}
}
