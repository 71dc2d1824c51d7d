package director

import (
	"runtime"

	"go.uber.org/zap"

	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/tune"
)

// placeWorkers settles where workers go, and remembers what the RSS tables are, before an interface is touched.
func (d *Director) placeWorkers() error {
	var err error
	if d.machine.allowed, err = numa.Allowed(); err != nil {
		return err
	}
	if d.machine.reachable, err = numa.Reachable(d.machine.Online); err != nil {
		return err
	}
	if d.drivers, err = tune.Live.OpenDrivers(); err != nil {
		return err
	}
	d.later(d.drivers.Close)
	for _, n := range d.nics {
		n.table, _ = d.drivers.Table(n.name) // without one there is nothing to put back
	}
	d.plan, err = d.place()
	return err
}

func (d *Director) place() (plan, error) {
	nics := make([]nic, len(d.nics))
	for i, n := range d.nics {
		nics[i] = n.nic
	}
	return place(nics, wish{cpus: d.cfg.Workers.CPUs, numa: d.cfg.Workers.NUMA}, d.machine)
}

// settle looks at the interfaces again when they have the program: a driver may have given them more queues (virtio_net
// does, one for each CPU to send from), which receive as the others do. Then it says what there is to say of the plan.
func (d *Director) settle() (err error) {
	for _, n := range d.nics {
		now := d.countQueues(n.name)
		if now == n.total {
			continue
		}
		d.log.Info("the driver gave the interface other queues with the program",
			zap.String("interface", n.name), zap.Int("before", n.total), zap.Int("now", now))
		if n.total = now; n.all {
			n.queues = n.queues[:0]
			for q := range now {
				n.queues = append(n.queues, q)
			}
		}
	}
	if d.plan, err = d.place(); err != nil {
		return err
	}
	for _, w := range d.plan.warnings {
		d.note(w.Subject, w.Text)
	}
	for _, a := range d.plan.advice {
		d.log.Warn(a)
	}
	return nil
}

// roomFor is how many queues an interface may come to have with the program: drivers add one for each CPU.
func (d *Director) roomFor(n *attached) int {
	c, err := d.tool.GetChannels(n.name)
	if err != nil {
		return n.total
	}
	return max(n.total, min(int(c.MaxCombined+c.MaxRx), n.total+len(d.machine.Possible)))
}

// spreadTable has the table's pages come from the workers' nodes, as many from each, until home is called: whatever worker
// comes to a connection, the table is as near to one as to another.
func (d *Director) spreadTable() (home func(), err error) {
	runtime.LockOSThread()
	if err := numa.Spread(d.plan.nodes); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return func() {
		if err := numa.Spread(nil); err != nil {
			d.log.Warn("memory policy", zap.Error(err))
		}
		runtime.UnlockOSThread()
	}, nil
}
