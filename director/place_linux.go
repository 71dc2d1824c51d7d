package director

import (
	"runtime"
	"time"

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
	d.later(func() error { // when the interfaces are without program: drivers make RSS tables anew with it, and without
		if d.keeper == nil {
			return nil
		}
		return d.keeper.Restore()
	})
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
// does, one for each CPU to send from), which receive as the others do. They stay without a worker, for they go with the
// program: RSS is kept off them. Then it says what there is to say of the plan.
func (d *Director) settle() (err error) {
	for _, n := range d.nics {
		if now := d.countQueues(n.name); now != n.total {
			d.log.Info("the driver gave the interface other queues with the program",
				zap.String("interface", n.name), zap.Int("before", n.total), zap.Int("now", now))
			n.grown, n.total = now > n.total, now
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

// detachLate tells whether a driver takes queues away with the program. One whose socket is closed only afterwards is not
// given back by virtio_net (seen in Linux 7.3): the driver goes on to use the frames, and the kernel falls over when the
// next program comes.
func (n *attached) detachLate() bool { return n.driver == "virtio_net" }

// released waits until no queue of an interface has a socket: the kernel gives them back a moment after they are closed.
func (n *attached) released() error {
	for until := time.Now().Add(busyPatience); n.detachLate() && time.Now().Before(until); time.Sleep(restTime) {
		if held, err := tune.HeldQueues(n.index); err != nil || len(held) == 0 {
			return nil // a kernel that does not tell is older than zero copy in that driver
		}
	}
	return nil
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
