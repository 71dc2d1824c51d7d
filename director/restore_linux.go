package director

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
)

// restore makes the table: what an earlier director stored, if anything, and what the configuration says; then it adopts
// the connections that the table's file holds.
func (d *Director) restore() error {
	d.store = openStore(d.cfg.Flows.State)
	ops := d.cfg.Ops()
	if d.store != nil {
		old, err := d.store.read()
		if err != nil {
			d.log.Warn("services made by ipvsadm are not restored", zap.Error(err))
		}
		if old != nil {
			if err := d.control.Import(old.Table, d.now()); err != nil {
				d.log.Warn("not everything was restored", zap.Error(err))
			}
			ops = ops[:0]
			for _, a := range config.Diff(old.Config, d.cfg) {
				if a.Op != nil {
					ops = append(ops, *a.Op)
				}
			}
		}
	}
	if err := config.Apply(ops, func(op control.Op) error { return d.control.Apply(op, d.now()) }); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if kept := d.control.Adopt(d.now()); d.state.found > 0 {
		d.log.Info("connections adopted", zap.Int("kept", kept), zap.Int("found", d.state.found))
	}
	d.save()
	return nil
}

// save keeps the table for the next start, now or soon.
func (d *Director) save() {
	if d.store == nil || d.store.later() {
		return
	}
	d.warn("store services", d.store.write(d.cfg, d.control.Export()))
}
