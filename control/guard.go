package control

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/service"
)

// guard is the state of the defences against floods (spec/connections.md 11).
type guard struct {
	entry, packet, secure defence
	rate                  int32 // every so manieth packet is dropped; 0: none
	due                   clock.Time
	todrop                [9]int32
}

// defence is the mode machine that the three share: 0 off, 1 automatic and off, 2 automatic and on, 3 on.
type defence struct {
	set  int32 // the tunable, to see it change
	mode int32
	on   bool
}

// step looks at the memory.
func (d *defence) step(low bool) {
	switch {
	case d.mode == 1 && low:
		d.mode = 2
	case d.mode == 2 && !low:
		d.mode = 1
	}
	d.on = d.mode >= 2
}

// tuned takes over modes that were written.
func (g *guard) tuned(t *service.Tunables) {
	for _, x := range [...]struct {
		d    *defence
		mode int32
	}{{&g.entry, t.DropEntry}, {&g.packet, t.DropPacket}, {&g.secure, t.SecureTCP}} {
		if x.d.set != x.mode {
			x.d.set, x.d.mode, x.d.on = x.mode, x.mode, x.mode == 3
		}
	}
}

// inForce is the tunables with what the automatic modes make of them.
func (g *guard) inForce(t service.Tunables) service.Tunables {
	mode := func(d *defence) int32 {
		if d.on {
			return 3
		}
		return 0
	}
	t.SecureTCP, t.DropPacket, t.DropEntry = mode(&g.secure), mode(&g.packet), mode(&g.entry)
	if g.packet.on && g.packet.mode == 2 {
		t.DropPacket, t.AMDropRate = 2, g.rate
	}
	return t
}

// defend is the defences' turn, every second.
func (c *Control) defend(now clock.Time) (changed bool) {
	g := &c.guard
	if now < g.due {
		return false
	}
	g.due = now + clock.Second
	before := g.inForce(c.tunables)
	available := int64(1) << 62
	if c.o.Memory != nil {
		available = c.o.Memory()
	}
	threshold := int64(c.tunables.AMemThresh)
	low := available < threshold
	g.entry.step(low)
	g.packet.step(low)
	g.secure.step(low)
	g.rate = 0
	if g.packet.on && g.packet.mode == 2 {
		g.rate = int32(max(1, threshold/(threshold-available)))
	}
	if g.entry.on {
		c.dropEntries(now)
	}
	return g.inForce(c.tunables) != before
}

// dropEntries looks at one record in 32, at random, and drops those that are likely to be a flood's.
func (c *Control) dropEntries(now clock.Time) {
	if c.o.Flows == nil {
		return
	}
	seed := c.o.Rand() | 1
	c.o.Flows.Walk(func(r flow.Ref, conn *flow.Conn) bool {
		if uint64(r)*seed>>32*0x9e3779b1%32 == 0 && c.isFlood(conn, now) {
			c.drop(r, conn, now)
		}
		return true
	})
}

// isFlood is the kernel's choice of what drop_entry drops.
func (c *Control) isFlood(conn *flow.Conn, now clock.Time) bool {
	flags := conn.LoadFlags()
	state := uint8(flags >> flow.StateShift)
	switch {
	case atomic.LoadInt32(&conn.NControl) > 0:
		return false
	case flags&flow.FlagTemplate != 0:
		if s := c.serviceOf(conn); s != nil && s.OnePacket {
			return c.isIdle(conn, now)
		}
		return flags&flow.FlagAssured == 0
	case conn.Proto == service.TCP:
		switch state {
		case flow.TCPSynRecv, flow.TCPSynAck:
			return true
		case flow.TCPEstablished:
			return c.isIdle(conn, now)
		}
		return false
	case conn.Proto == service.SCTP:
		switch state {
		case flow.SCTPInit1, flow.SCTPInitState:
			return true
		case flow.SCTPEstablished:
			return c.isIdle(conn, now)
		}
		return false
	}
	return c.isIdle(conn, now)
}

// isIdle picks, of connections without a packet for 60 s that had i of them (1 to 8), every i-th.
func (c *Control) isIdle(conn *flow.Conn, now clock.Time) bool {
	timeout, deadline := atomic.LoadInt64(&conn.Timeout), atomic.LoadInt64(&conn.Deadline)
	i := atomic.LoadUint32(&conn.InPkts)
	if int64(now)+timeout-deadline < int64(60*clock.Second) || i == 0 || i > 8 {
		return false
	}
	if c.guard.todrop[i]--; c.guard.todrop[i] > 0 {
		return false
	}
	c.guard.todrop[i] = int32(i)
	return true
}

// serviceOf is the service that made a connection, if it still exists.
func (c *Control) serviceOf(conn *flow.Conn) *service.Service {
	for _, s := range c.table.Services() {
		if s.Number == conn.Service {
			return s
		}
	}
	return nil
}
