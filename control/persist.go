package control

import (
	"errors"
	"slices"
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/service"
)

// Export is the present state as operations that make it from nothing: tunables and timeouts that are not the defaults,
// marks, services in their order, servers so that their lists come out the same, daemons.
func (c *Control) Export() []Op {
	var ops []Op
	def := service.DefaultTunables()
	for _, name := range def.Names() {
		d, _ := def.Get(name)
		if v, _ := c.tunables.Get(name); v != d {
			ops = append(ops, Op{Kind: SetTunable, Name: name, Value: v})
		}
	}
	if c.timeouts != service.DefaultTimeouts {
		ops = append(ops, Op{Kind: SetTimeouts, Timeouts: c.timeouts})
	}
	if m := c.table.Marks(); len(m) > 0 {
		ops = append(ops, Op{Kind: SetMarks, Marks: slices.Clone(m)})
	}
	for _, s := range c.table.Services() {
		ops = append(ops, Op{Kind: AddService, Service: s.Spec})
		for _, d := range slices.Backward(s.Servers) {
			ops = append(ops, Op{Kind: AddServer, Service: service.Spec{ID: s.ID}, Server: d.Spec()})
		}
	}
	for _, d := range c.daemons {
		ops = append(ops, Op{Kind: StartDaemon, Daemon: d})
	}
	return ops
}

// Import carries out operations, all that can be, and returns the errors of the others joined.
func (c *Control) Import(ops []Op, now clock.Time) error {
	var errs []error
	for _, op := range ops {
		if err := c.Apply(op, now); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Adopt brings servers and connections together that an earlier process left: call it once, after Import and before any
// worker runs. Connection counts are made anew from the connections themselves, since a crash may have come between the
// two. Connections whose server is not known any more expire now. It returns how many were kept.
func (c *Control) Adopt(now clock.Time) (kept int) {
	if c.o.Flows == nil {
		return 0
	}
	c.table.ClearCounts()
	c.o.Flows.Walk(func(r flow.Ref, conn *flow.Conn) bool {
		// The number of a next hop was the dead process's own.
		atomic.StoreUint32(&conn.Hop, 0)
		if conn.Server == 0 {
			kept++
			return true
		}
		s := c.o.Slots.Get(conn.Server)
		if s == nil || !s.InUse() || s.Addr != conn.Dest && conn.LoadFlags()&flow.FlagElsewhere == 0 {
			conn.Server = 0
			c.drop(r, conn, now)
			return true
		}
		conn.Service = s.Service
		flags := conn.LoadFlags()
		s.Bind(flags&flow.FlagTemplate != 0)
		if flags&(flow.FlagTemplate|flow.FlagInactive) == 0 {
			s.Activate()
		}
		kept++
		return true
	})
	if c.table.Trash() > 0 {
		c.trashAt = now + trashPeriod
	}
	if c.tunables.ExpireNoDest {
		c.expireDead(now)
	}
	return kept
}
