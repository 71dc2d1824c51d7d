package twin

import (
	"fmt"
	"net/netip"
	"sort"
)

// conn is a connection.
type conn struct {
	proto                int
	client, virtual, dst netip.AddrPort // dst: the server
	server               *server
	svc                  *service
	method               string // as it was when the connection was made
	state                int
	active               bool
	noOutput             bool // no reply was seen yet (DR, tunnel)
	deadline             int64

	template bool // a persistence template: client's network, port 0
	assured  bool
	invalid  bool  // its server was lost; never matched again
	timeout  int64 // of a template: what its timer is set to
	control  *conn // the template that a connection hangs on
	controls int   // connections that hang on a template
}

// findIn is the connection of a packet from a client.
func (t *Twin) findIn(proto int, src, dst netip.AddrPort) *conn {
	for _, c := range t.conns {
		if !c.template && c.proto == proto && c.client == src && c.virtual == dst {
			return c
		}
	}
	return nil
}

// findOut is the connection of a packet to a client: from the server in NAT, else from the virtual address.
func (t *Twin) findOut(proto int, src, dst netip.AddrPort) *conn {
	for _, c := range t.conns {
		from := c.virtual
		if c.method == "nat" {
			from = c.dst
		}
		if !c.template && c.proto == proto && c.client == dst && from == src {
			return c
		}
	}
	return nil
}

func (t *Twin) link(c *conn) {
	t.conns = append(t.conns, c)
	if c.control != nil {
		c.control.controls++
	}
	if c.template {
		c.server.persistent++
	} else {
		c.server.bind()
	}
}

func (t *Twin) unlink(c *conn) {
	for i := range t.conns {
		if t.conns[i] == c {
			t.conns = append(t.conns[:i:i], t.conns[i+1:]...)
			if c.control != nil {
				c.control.controls--
			}
			if c.template {
				c.server.persistent--
			} else {
				c.server.unbind(c.active)
			}
			return
		}
	}
}

// step runs the state machine for a packet of the connection and re-arms its timer.
func (t *Twin) step(c *conn, out bool, flags int) {
	if c.proto == protoUDP {
		c.deadline = t.now + t.udp
		if out && c.control != nil {
			c.control.assured = true
		}
		return
	}
	table := "input"
	switch {
	case out:
		table = "output"
		c.noOutput = false
	case c.noOutput:
		table = "input only"
	}
	next := nextState(table, flags, c.state)
	if next != c.state && isActive(next) != c.active {
		c.active = !c.active
		if c.active {
			c.server.active++
			c.server.inactive--
		} else {
			c.server.active--
			c.server.inactive++
		}
	}
	if next == stEstablished && c.state != next && c.control != nil {
		c.control.assured = true
	}
	c.state = next
	c.deadline = t.now + t.tcp[next]
}

// count adds a packet to the counters of the connection's server and service.
func (c *conn) count(out bool, bytes int) {
	if !c.server.available {
		return
	}
	for _, s := range []*stats{&c.server.stats, &c.server.svc.stats} {
		if out {
			s.OutPkts++
			s.OutBytes += uint64(bytes)
		} else {
			s.InPkts++
			s.InBytes += uint64(bytes)
		}
	}
}

// Advance moves the clock: connections and held fragments whose time has come go, and so do, looked at every 60 s, removed
// servers that nobody has used for 120 s. It returns how many fragments were given up.
func (t *Twin) Advance(now int64) (lost int) {
	for len(t.trash) > 0 && t.trashAt <= now {
		t.expire(t.trashAt)
		t.sift(t.trashAt)
		t.trashAt += 60 * second
	}
	t.now = now
	t.expire(now)
	kept := t.held[:0]
	for _, d := range t.held {
		if d.deadline <= now {
			lost += len(d.parts)
			continue
		}
		kept = append(kept, d)
	}
	t.held = kept
	return lost
}

func (t *Twin) expire(now int64) {
	for { // the earliest first, a template before what hangs on it: it may outlive that by 60 s at a time
		var c *conn
		for _, d := range t.conns {
			if d.deadline <= now && (c == nil || d.deadline < c.deadline || d.deadline == c.deadline && d.template && !c.template) {
				c = d
			}
		}
		if c == nil {
			return
		}
		for _, d := range t.conns {
			if d.control == c && d.deadline == c.deadline {
				t.Disputed = append(t.Disputed, "a template and its last connection expire together")
			}
		}
		if c.controls > 0 {
			c.timeout = 60 * second
			c.deadline += 60 * second
			continue
		}
		t.unlink(c)
	}
}

// sift looks through the removed servers.
func (t *Twin) sift(now int64) {
	var kept []*server
	for _, s := range t.trash {
		used := false
		for _, c := range t.conns {
			used = used || c.server == s
		}
		if !used && s.idle == 0 {
			s.idle = now
		} else if !used && now >= s.idle+120*second {
			continue
		}
		kept = append(kept, s)
	}
	t.trash = kept
}

// Conn is a line of the connection list.
type Conn struct {
	Protocol                string
	State                   string
	Client, Virtual, Server netip.AddrPort
	Deadline                int64 // when it expires, nanoseconds
}

func (c Conn) String() string {
	return fmt.Sprintf("%s %s %s %s %s until %d", c.Protocol, c.State, c.Client, c.Virtual, c.Server, c.Deadline)
}

// Conns lists the connections, sorted.
func (t *Twin) Conns() (l []Conn) {
	for _, c := range t.conns {
		line := Conn{"UDP", "UDP", c.client, c.virtual, c.dst, c.deadline}
		if c.proto == protoTCP {
			line.Protocol, line.State = "TCP", stateNames[c.state]
		}
		if c.template {
			line.State = "NONE"
			if c.assured {
				line.State = "ASSURED"
			}
		}
		l = append(l, line)
	}
	sort.Slice(l, func(i, j int) bool { return l[i].String() < l[j].String() })
	return l
}

// Counts are the counters of a server, or of a service when Server is not valid.
type Counts struct {
	Protocol         string
	Service, Server  netip.AddrPort
	Active, Inactive int
	Weight           int
	stats
}

func (c Counts) String() string {
	return fmt.Sprintf("%s %s %s weight %d active %d inactive %d conns %d in %d/%d out %d/%d", c.Protocol, c.Service, c.Server, c.Weight, c.Active, c.Inactive, c.Conns, c.InPkts, c.InBytes, c.OutPkts, c.OutBytes)
}

// Counts lists the services in the order in which they were added, each followed by its servers, the latest added first.
func (t *Twin) Counts() (l []Counts) {
	for _, s := range t.services {
		c := Counts{Protocol: "TCP", Service: netip.AddrPortFrom(s.addr, s.port), stats: s.stats}
		if s.proto == protoUDP {
			c.Protocol = "UDP"
		}
		l = append(l, c)
		for _, d := range s.servers {
			c.Server, c.Weight, c.Active, c.Inactive, c.stats = netip.AddrPortFrom(d.addr, d.port), d.weight, d.active, d.inactive, d.stats
			l = append(l, c)
		}
	}
	return l
}

// Problems checks what must hold at any time: counts are what the connections say.
func (t *Twin) Problems() (l []string) {
	for _, s := range t.services {
		for _, d := range s.servers {
			active, inactive := 0, 0
			for _, c := range t.conns {
				switch {
				case c.server != d || c.template:
				case c.active:
					active++
				default:
					inactive++
				}
			}
			if active != d.active || inactive != d.inactive {
				l = append(l, fmt.Sprintf("server %s: %d active, %d inactive, but connections say %d, %d", d.addr, d.active, d.inactive, active, inactive))
			}
		}
	}
	return l
}
