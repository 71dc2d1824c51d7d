package director

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/xdp"
)

// restore makes the table: what an earlier director stored, if anything, and what the configuration says; then it adopts
// the connections that the table's file holds.
func (d *Director) restore() error {
	if err := d.fill(d.control, d.log); err != nil {
		return err
	}
	if kept := d.control.Adopt(d.now()); d.state.found > 0 {
		d.log.Info("connections adopted", zap.Int("kept", kept), zap.Int("found", d.state.found))
	}
	d.save()
	return nil
}

// fill makes the table in c.
func (d *Director) fill(c *control.Control, log *zap.Logger) error {
	ops := d.cfg.Ops()
	if d.store != nil {
		old, err := d.store.read()
		if err != nil {
			log.Warn("services made by ipvsadm are not restored", zap.Error(err))
		}
		if old != nil {
			if err := c.Import(old.Table, d.now()); err != nil {
				log.Warn("not everything was restored", zap.Error(err))
			}
			ops = ops[:0]
			for _, a := range config.Diff(old.Config, d.cfg) {
				if a.Op != nil {
					ops = append(ops, *a.Op)
				}
			}
		}
	}
	if err := config.Apply(ops, func(op control.Op) error { return c.Apply(op, d.now()) }); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

// foresee gives the steering program the rules of the table that restore will make, without a table to make it in yet.
func (d *Director) foresee() error {
	d.store = openStore(d.cfg.Flows.State)
	c := control.New(control.Options{Slots: service.HeapSlots(slotCapacity), Link: d.link})
	network := d.net.Snapshot()
	c.Publish(network)
	if err := d.fill(c, zap.NewNop()); err != nil {
		return err
	}
	_, err := d.programs.Update(xdp.FromSnapshot(c.Publish(network).Services))
	return err
}

// save keeps the table for the next start, now or soon.
func (d *Director) save() {
	if d.store == nil || d.store.later() {
		return
	}
	d.warn("store services", d.store.write(d.cfg, d.control.Export()))
}

// saveLate is what follows when the store is due.
func (d *Director) saveLate() {
	if d.store.dirty {
		d.warn("store services", d.store.write(d.cfg, d.control.Export()))
	} else {
		d.warn("store services", d.store.sync())
	}
}
