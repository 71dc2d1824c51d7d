package director

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// Apply carries out operations in order and stops at the first that fails; applied is how many went before it. The
// workers see all of them at once.
func (d *Director) Apply(ops []control.Op) (applied int, err error) {
	stopped := d.do(func() error {
		for i := range ops {
			if err = d.apply(ops[i]); err != nil {
				break
			}
			applied++
		}
		if applied > 0 {
			d.publish()
			d.save()
		}
		return nil
	})
	return applied, errors.Join(stopped, err)
}

// apply carries out one operation and logs it.
func (d *Director) apply(op control.Op) error {
	if err := d.control.Apply(op, d.now()); err != nil {
		return err
	}
	d.log.Info(config.Action{Op: &op}.String())
	if op.Kind == control.StartDaemon {
		d.log.Warn("the synchronisation daemon is kept and listed, but connections are not synchronised yet: expect nothing of it in a failover")
	}
	return nil
}

// Info is what the header of ipvsadm's listings says.
func (d *Director) Info() (i control.Info, err error) {
	err = errors.Join(d.do(func() (err error) { i, err = d.control.Info(); return err }))
	return i, err
}

// Services lists services and servers with their counts and rates.
func (d *Director) Services() (list []control.ServiceEntry, err error) {
	err = d.do(func() (err error) { list, err = d.control.Services(); return err })
	return list, err
}

// Ages lists like Services, and says of each server what its active connections are made of. It reads the whole
// connection table: about 20 ms for a million connections, 0.2 s for ten (BenchmarkActiveAges in control), during which nothing else waits.
func (d *Director) Ages() ([]control.ServiceEntry, error) {
	list, err := d.Services()
	if err == nil {
		d.control.AddAges(list, d.now())
	}
	return list, err
}

// Connections calls yield for each connection and template. It holds nothing up, however slow yield is.
func (d *Director) Connections(yield func(control.ConnEntry) error) error {
	return d.control.ConnectionsAt(d.now(), func(e control.ConnEntry) error {
		select {
		case <-d.done:
			return errStopped
		default:
			return yield(e)
		}
	})
}

// Timeouts are those that ipvsadm --set changes.
func (d *Director) Timeouts() (t service.Timeouts, err error) {
	err = d.do(func() (err error) { t, err = d.control.Timeouts(); return err })
	return t, err
}

// Daemons lists the synchronisation daemons.
func (d *Director) Daemons() (list []control.Daemon, err error) {
	err = d.do(func() (err error) { list, err = d.control.Daemons(); return err })
	return list, err
}

// Reload reads the configuration file again and applies the difference between the old file and the new one. Either all
// of it is applied or, with all faults reported, nothing.
func (d *Director) Reload() (done Reloaded, err error) {
	if d.opt.Load == nil {
		return done, errors.New("reload: the director was started without a configuration file")
	}
	next, err := d.opt.Load()
	if err != nil {
		return done, fmt.Errorf("reload: nothing was changed: %w", err)
	}
	err = d.do(func() (err error) { done, err = d.reload(next); return err })
	if err != nil {
		d.log.Error("reload", zap.Error(err))
	}
	return done, err
}

func (d *Director) reload(next *config.Config) (Reloaded, error) {
	done := Reloaded{Changes: []string{}}
	for _, f := range next.Warnings {
		done.Warnings = append(done.Warnings, f.Error())
	}
	actions := config.Diff(d.cfg, next)
	var ops []control.Op
	for _, a := range actions {
		if a.Op != nil {
			ops = append(ops, *a.Op)
		}
	}
	if err := d.rehearse(ops); err != nil {
		return done, fmt.Errorf("reload: nothing was changed: %w", err)
	}
	for _, a := range actions {
		switch {
		case a.Op != nil:
		case a.Restart:
			done.Warnings = append(done.Warnings, a.String())
			d.log.Warn(a.String())
		case a.Setting == "neighbors":
			d.net.SetNeighbors(neighbors(next))
			d.changed(&done, a.String())
		case a.Setting == "log":
			if d.opt.SetLog != nil {
				if err := d.opt.SetLog(next.Log); err != nil {
					done.Warnings = append(done.Warnings, err.Error())
					continue
				}
			}
			d.changed(&done, a.String())
		}
	}
	err := config.Apply(ops, func(op control.Op) error {
		err := d.control.Apply(op, d.now())
		if err == nil {
			d.changed(&done, config.Action{Op: &op}.String())
		}
		return err
	})
	kept := *next
	kept.KeepStart(d.cfg)
	d.cfg = &kept
	d.publish()
	d.save()
	if err != nil { // what the rehearsal could not foresee: no free server slot
		return done, fmt.Errorf("reload: %w", err)
	}
	return done, nil
}

func (d *Director) changed(done *Reloaded, what string) {
	done.Changes = append(done.Changes, what)
	d.log.Info(what)
}

// rehearse carries operations out on a copy of the table.
func (d *Director) rehearse(ops []control.Op) error {
	now := d.now()
	c := control.New(control.Options{Slots: service.HeapSlots(d.state.slots.Capacity()), Link: d.link})
	c.Publish(d.net.Snapshot())
	if err := c.Import(d.control.Export(), now); err != nil {
		return fmt.Errorf("copy the present table: %w", err)
	}
	return config.Apply(ops, func(op control.Op) error { return c.Apply(op, now) })
}
