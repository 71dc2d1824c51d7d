package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// Action is one step from a configuration to another: an operation on the table, or a setting that changed.
type Action struct {
	Op       *control.Op // nil: a setting
	Setting  string      // its key, "workers.poll"; of interfaces, neighbors, routes and log the top-level one
	From, To string      // of a setting
	Restart  bool        // the setting counts only when the director starts
}

// String is a line for users.
func (a Action) String() string {
	if a.Op != nil {
		return describeOp(a.Op)
	}
	s := fmt.Sprintf("%s: %s → %s", a.Setting, a.From, a.To)
	if a.Restart {
		s += " (at the next start)"
	}
	return s
}

// Diff lists what leads from old to new: removals first, then changes and additions in the order of the new file. What
// the two have in common is not touched, so that services which neither changes keep their counters.
func Diff(old, new *Config) (actions []Action) {
	op := func(o control.Op) { actions = append(actions, Action{Op: &o}) }
	setting := func(name string, restart bool, from, to any) {
		if !reflect.DeepEqual(from, to) {
			actions = append(actions, Action{Setting: name, From: show(from), To: show(to), Restart: restart})
		}
	}
	setting("interfaces", true, old.Interfaces, new.Interfaces)
	for i, from := range old.startSettings() {
		to := new.startSettings()[i]
		setting(from.key, true, from.value, to.value)
	}
	setting("neighbors", false, old.Neighbors, new.Neighbors)
	setting("routes", false, old.Routes, new.Routes)
	setting("log", false, old.Log, new.Log)

	if old.Timeouts != new.Timeouts {
		op(control.Op{Kind: control.SetTimeouts, Timeouts: new.Timeouts})
	}
	for _, t := range changedTunables(old.Tunables, new.Tunables) {
		op(control.Op{Kind: control.SetTunable, Name: t.Name, Value: t.Value})
	}
	if !slices.EqualFunc(old.Marks, new.Marks, func(a, b service.Mark) bool { return reflect.DeepEqual(a, b) }) {
		op(control.Op{Kind: control.SetMarks, Marks: new.Marks})
	}
	for i := range old.Services {
		if find(new.Services, old.Services[i].ID) == nil {
			op(control.Op{Kind: control.DeleteService, Service: service.Spec{ID: old.Services[i].ID}})
		}
	}
	for i := range new.Services {
		to := &new.Services[i]
		from := find(old.Services, to.ID)
		switch {
		case from == nil:
			op(control.Op{Kind: control.AddService, Service: to.Spec})
			from = &Service{}
		case from.Spec != to.Spec:
			op(control.Op{Kind: control.EditService, Service: to.Spec})
		}
		for _, v := range from.Servers {
			if findServer(to.Servers, v.ServerID) == nil {
				op(control.Op{Kind: control.DeleteServer, Service: service.Spec{ID: to.ID}, Server: service.ServerSpec{ServerID: v.ServerID}})
			}
		}
		for _, v := range to.Servers {
			kind := control.EditServer
			switch f := findServer(from.Servers, v.ServerID); {
			case f == nil:
				kind = control.AddServer
			case *f == v:
				continue
			}
			op(control.Op{Kind: kind, Service: service.Spec{ID: to.ID}, Server: v})
		}
	}
	return actions
}

// startSetting is a setting that counts when the director starts.
type startSetting struct {
	key   string
	value any
}

// startSettings are all of them but the interfaces, always in the same order.
func (c *Config) startSettings() []startSetting {
	w := &c.Workers
	return []startSetting{
		{"workers.cpus", list(w.CPUs, "auto")}, {"workers.batch", w.Batch}, {"workers.poll", w.Poll}, {"workers.busy_poll", w.BusyPoll},
		{"workers.frames", w.Frames}, {"workers.hugepages", w.Hugepages}, {"workers.numa", w.NUMA}, {"workers.tune", w.Tune},
		{"flows.capacity", c.Flows.Capacity}, {"flows.state", c.Flows.State},
		{"metrics.listen", c.Metrics.Listen}, {"api.socket", c.API.Socket}, {"api.group", c.API.Group},
	}
}

// KeepStart takes over from the configuration that a director runs with what counts only when it starts, so that what it
// goes by is what is true of it, and the next difference tells of these settings again.
func (c *Config) KeepStart(running *Config) {
	c.Interfaces, c.Workers, c.Flows, c.Metrics, c.API = running.Interfaces, running.Workers, running.Flows, running.Metrics, running.API
}

// Ops are the operations that make an empty table what the configuration says: timeouts, tunables, marks, services.
func (c *Config) Ops() (ops []control.Op) {
	empty := Default()
	for _, a := range Diff(empty, c) {
		if a.Op != nil {
			ops = append(ops, *a.Op)
		}
	}
	return ops
}

// Apply carries operations out by do and says which of them failed. The file is what counts: what ipvsadm has made in
// the meantime is changed rather than refused, and what it has removed is made again, or is gone as wished.
func Apply(ops []control.Op, do func(control.Op) error) error {
	var failed []error
	for _, op := range ops {
		err := do(op)
		switch {
		case op.Kind == control.AddService && errors.Is(err, service.ErrServiceExists):
			op.Kind = control.EditService
			err = do(op)
		case op.Kind == control.EditService && errors.Is(err, service.ErrNoService):
			op.Kind = control.AddService
			err = do(op)
		case op.Kind == control.AddServer && errors.Is(err, service.ErrServerExists):
			op.Kind = control.EditServer
			err = do(op)
		case op.Kind == control.EditServer && errors.Is(err, service.ErrNoServer):
			op.Kind = control.AddServer
			err = do(op)
		case (op.Kind == control.DeleteService || op.Kind == control.DeleteServer) &&
			(errors.Is(err, service.ErrNoService) || errors.Is(err, service.ErrNoServer)):
			err = nil
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// changedTunables are those that the new file sets otherwise, and those that it no longer sets, at their defaults.
func changedTunables(old, new []Tunable) (list []Tunable) {
	value := func(in []Tunable, name string) (string, bool) {
		i := slices.IndexFunc(in, func(t Tunable) bool { return t.Name == name })
		if i < 0 {
			return "", false
		}
		return in[i].Value, true
	}
	defaults := service.DefaultTunables()
	for _, t := range old {
		if _, kept := value(new, t.Name); !kept {
			if v, ok := defaults.Get(t.Name); ok {
				list = append(list, Tunable{t.Name, strings.ReplaceAll(v, "\t", " ")})
			}
		}
	}
	for _, t := range new {
		if v, had := value(old, t.Name); !had || v != t.Value {
			list = append(list, t)
		}
	}
	return list
}

func find(in []Service, id service.ID) *Service {
	for i := range in {
		if in[i].ID == id {
			return &in[i]
		}
	}
	return nil
}

func findServer(in []service.ServerSpec, id service.ServerID) *service.ServerSpec {
	for i := range in {
		if in[i].ServerID == id {
			return &in[i]
		}
	}
	return nil
}
