package control

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/sched"
	"github.com/fastlb/fastlb/service"
)

// Period is how often Tick wants to be called.
const Period = clock.Second

// Options are what a Control works with. All but Slots may be left out.
type Options struct {
	Slots    *service.Slots    // where servers live
	Counters *service.Counters // the workers' counts; nil: all statistics are 0
	Flows    *flow.Table       // connections; nil: none are listed, expired or counted again

	// Defer lets schedulers use servers added to a running service only after Settle: for a director, whose workers take
	// a snapshot later than it is published.
	Defer bool

	// Rand returns random bits, for twos and the drop_entry defence, to several goroutines at a time; nil: the same
	// sequence in every run.
	Rand func() uint64
	// Memory is how many pages the machine has available, for the defences' automatic modes; nil: always enough.
	Memory func() int64
	// Link tells a sync daemon's interface: its MTU in bytes and whether it is up; ok false: there is none of that name.
	// nil: every name is good, with an MTU of 1500.
	Link func(name string) (mtu uint32, up, ok bool)
}

// Control is the director's table and what belongs to it: timeouts, tunables, daemons, rates. It has one caller at a
// time.
type Control struct {
	o        Options
	table    *service.Table
	tunables service.Tunables
	timeouts service.Timeouts
	daemons  []Daemon // at most one of each state, master first
	net      neigh.Resolver
	rates    estimator
	guard    guard
	trashAt  clock.Time // next look at the trash; clock.Never while it is empty

	lblc, lblcr atomic.Int64 // expirations in seconds: the schedulers read them in the workers
}

// New makes a control without services. Servers that the slots hold from an earlier process wait in the trash until
// Import adds them again; then call Adopt.
func New(o Options) *Control {
	c := &Control{o: o, tunables: service.DefaultTunables(), timeouts: service.DefaultTimeouts, net: neigh.Empty(), trashAt: clock.Never}
	if c.o.Rand == nil {
		c.o.Rand = sched.Fixed()
	}
	c.table = service.NewTable(o.Slots, c.scheduler)
	c.table.Kind, c.table.Defer = c.kind, o.Defer
	if o.Counters != nil {
		c.table.Count(o.Counters)
	}
	c.rates.servers = make([]rate, o.Slots.Capacity()+1)
	c.rates.services = map[uint32]*rate{}
	c.tuned()
	return c
}

// scheduler makes a service's scheduler.
func (c *Control) scheduler(name string) (service.Scheduler, error) {
	return sched.New(name, sched.Env{Rand: c.o.Rand, LBLCExpiration: c.lblc.Load, LBLCRExpiration: c.lblcr.Load})
}

// Table is the desired state, to read.
func (c *Control) Table() *service.Table { return c.table }

// Apply carries out one change, whole or not at all. Errors carry the kernel's errno: errors.As to *service.Error. The
// workers see the change with the next Publish.
func (c *Control) Apply(op Op, now clock.Time) error {
	id := op.Service.ID
	switch op.Kind {
	case AddService:
		return c.table.AddService(op.Service)
	case EditService:
		return c.table.EditService(op.Service)
	case DeleteService:
		s, err := c.table.Service(id)
		if err != nil {
			return err
		}
		delete(c.rates.services, s.Number)
		return c.removed(c.table.DeleteService(id), now)
	case Flush:
		clear(c.rates.services)
		c.table.Flush()
		return c.removed(nil, now)
	case AddServer:
		return c.addServer(op)
	case EditServer:
		return c.table.EditServer(id, op.Server)
	case DeleteServer:
		return c.removed(c.table.DeleteServer(id, op.Server.ServerID), now)
	case Zero:
		return c.zero(id)
	case SetTimeouts:
		return c.setTimeouts(op.Timeouts)
	case StartDaemon:
		return c.startDaemon(op.Daemon)
	case StopDaemon:
		return c.stopDaemon(op.Daemon)
	case SetMarks:
		c.table.SetMarks(op.Marks)
		return nil
	case SetTunable:
		return c.setTunable(op.Name, op.Value)
	}
	return fmt.Errorf("operation %q: %w", op.Kind, service.ErrInvalid)
}

// addServer adds a server, whose rates begin at 0 unless it comes back with its statistics.
func (c *Control) addServer(op Op) error {
	if err := c.table.AddServer(op.Service.ID, op.Server); err != nil {
		return err
	}
	s, err := c.table.Server(op.Service.ID, op.Server.ServerID)
	if err == nil && c.table.ServerStats(s) == (service.Stats{}) {
		c.rates.servers[s.Number] = rate{}
	}
	return err
}

// removed is what follows when servers have left: the trash is looked at from now on, and with expire_nodest_conn their
// connections end.
func (c *Control) removed(err error, now clock.Time) error {
	if err != nil {
		return err
	}
	if c.trashAt == clock.Never && c.table.Trash() > 0 {
		c.trashAt = now + trashPeriod
	}
	if c.tunables.ExpireNoDest {
		c.expireDead(now)
	}
	return nil
}

// expireDead lets every connection expire now whose server was removed, but for those that control others, and marks
// them so that templates which then control nothing go too, assured or not (spec/connections.md 8).
func (c *Control) expireDead(now clock.Time) {
	if c.o.Flows == nil {
		return
	}
	c.o.Flows.Walk(func(r flow.Ref, conn *flow.Conn) bool {
		s := c.o.Slots.Get(conn.Server)
		switch {
		case s == nil || s.Available():
		case atomic.LoadInt32(&conn.NControl) == 0:
			c.drop(r, conn, now)
		default:
			change(conn, 0, flow.FlagAssured)
		}
		return true
	})
}

// drop ends a connection as the kernel's defences do: it expires now, and its template with it if that controls nothing
// else and is not assured.
func (c *Control) drop(r flow.Ref, conn *flow.Conn, now clock.Time) {
	change(conn, flow.FlagDropChain, 0)
	c.o.Flows.Shorten(r, int64(now))
}

// change sets and clears flags of a connection that workers are using.
func change(conn *flow.Conn, set, clear uint32) {
	for {
		old := conn.LoadFlags()
		if conn.CASFlags(old, old&^clear|set) {
			return
		}
	}
}

// zero is -Z: of one service, or of all with the zero ID.
func (c *Control) zero(id service.ID) error {
	if id == (service.ID{}) {
		c.table.ZeroAll()
		c.rates.zeroAll()
		return nil
	}
	if err := c.table.Zero(id); err != nil {
		return err
	}
	s, err := c.table.Service(id)
	if err == nil {
		c.rates.zero(s)
	}
	return err
}

// maxTimeout is the kernel's limit, the largest number of seconds that it can count in ticks.
const maxTimeout = (1<<31 - 1) / 250

// setTimeouts changes the timeouts that are not 0.
func (c *Control) setTimeouts(t service.Timeouts) error {
	if max(t.TCP, t.TCPFin, t.UDP) > maxTimeout {
		return fmt.Errorf("timeouts of more than %d s: %w", maxTimeout, service.ErrInvalid)
	}
	for _, f := range []struct{ to, from *uint32 }{{&c.timeouts.TCP, &t.TCP}, {&c.timeouts.TCPFin, &t.TCPFin}, {&c.timeouts.UDP, &t.UDP}} {
		if *f.from != 0 {
			*f.to = *f.from
		}
	}
	return nil
}

// setTunable changes one tunable.
func (c *Control) setTunable(name, value string) error {
	if err := c.tunables.Set(name, value); err != nil {
		return err
	}
	c.tuned()
	return nil
}

// tuned hands tunables on to those who act on them.
func (c *Control) tuned() {
	c.lblc.Store(int64(c.tunables.LBLCExpiration))
	c.lblcr.Store(int64(c.tunables.LBLCRExpiration))
	c.table.SetClassic(c.tunables.Classic)
	c.guard.tuned(&c.tunables)
}

// Tunables are the tunables as they were set.
func (c *Control) Tunables() service.Tunables { return c.tunables }

// Timeouts are those that SetTimeouts sets.
func (c *Control) Timeouts() (service.Timeouts, error) { return c.timeouts, nil }

// Daemons lists the sync daemons that were started, the master first.
func (c *Control) Daemons() ([]Daemon, error) { return slices.Clone(c.daemons), nil }
