package ipvsadm_test

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/sched"
	"github.com/fastlb/fastlb/service"
)

// engine is a table without a dataplane: service.Table decides, entries are what listings show.
type engine struct {
	table    *service.Table
	entries  []control.ServiceEntry
	conns    []control.ConnEntry
	timeouts service.Timeouts
	daemons  []control.Daemon
}

func newEngine() *engine {
	t := service.NewTable(service.HeapSlots(64), func(name string) (service.Scheduler, error) { return sched.New(name, sched.Env{}) })
	t.Kind = func(a packet.Addr) service.AddrKind {
		if a.Netip() == netip.MustParseAddr("10.9.0.1") {
			return service.AddrLocal
		}
		return service.AddrUnicast
	}
	return &engine{table: t, timeouts: service.DefaultTimeouts}
}

func (e *engine) find(id service.ID) *control.ServiceEntry {
	i := slices.IndexFunc(e.entries, func(s control.ServiceEntry) bool { return s.Spec.ID == id })
	if i < 0 {
		return nil
	}
	return &e.entries[i]
}

func (e *engine) Do(op control.Op) error {
	id := op.Service.ID
	same := func(s control.ServerEntry) bool { return s.Spec.ServerID == op.Server.ServerID }
	switch op.Kind {
	case control.AddService:
		if err := e.table.AddService(op.Service); err != nil {
			return err
		}
		e.entries = append(e.entries, control.ServiceEntry{Spec: op.Service})
	case control.EditService:
		if err := e.table.EditService(op.Service); err != nil {
			return err
		}
		e.find(id).Spec = op.Service
	case control.DeleteService:
		if err := e.table.DeleteService(id); err != nil {
			return err
		}
		e.entries = slices.DeleteFunc(e.entries, func(s control.ServiceEntry) bool { return s.Spec.ID == id })
	case control.Flush:
		e.table.Flush()
		e.entries = nil
	case control.AddServer:
		if err := e.table.AddServer(id, op.Server); err != nil {
			return err
		}
		s := e.find(id)
		s.Servers = slices.Insert(s.Servers, 0, control.ServerEntry{Spec: op.Server})
	case control.EditServer:
		if err := e.table.EditServer(id, op.Server); err != nil {
			return err
		}
		s := e.find(id)
		s.Servers[slices.IndexFunc(s.Servers, same)].Spec = op.Server
	case control.DeleteServer:
		if err := e.table.DeleteServer(id, op.Server.ServerID); err != nil {
			return err
		}
		s := e.find(id)
		s.Servers = slices.DeleteFunc(s.Servers, same)
	case control.Zero:
		if id != (service.ID{}) {
			_, err := e.table.Service(id)
			return err
		}
	case control.SetTimeouts:
		for _, v := range []struct{ to, from *uint32 }{
			{&e.timeouts.TCP, &op.Timeouts.TCP}, {&e.timeouts.TCPFin, &op.Timeouts.TCPFin}, {&e.timeouts.UDP, &op.Timeouts.UDP},
		} {
			if *v.from != 0 {
				*v.to = *v.from
			}
		}
	case control.StartDaemon:
		return e.start(op.Daemon)
	case control.StopDaemon:
		n := len(e.daemons)
		e.daemons = slices.DeleteFunc(e.daemons, func(d control.Daemon) bool { return d.State == op.Daemon.State })
		if len(e.daemons) == n {
			return fmt.Errorf("%s: %w", op.Daemon.State, service.ErrNoDaemon)
		}
	default:
		return &control.NotYet{What: string(op.Kind) + " operations"}
	}
	return nil
}

// start knows the interfaces of the recordings and the kernel's defaults.
func (e *engine) start(d control.Daemon) error {
	for _, o := range e.daemons {
		if o.State == d.State {
			return fmt.Errorf("%s: %w", d.State, service.ErrDaemonRuns)
		}
	}
	switch d.Interface {
	case "sync0", "lo":
	case "down0":
		return syscall.ENETUNREACH
	default:
		return syscall.ENODEV
	}
	if !d.Group.IsValid() {
		d.Group = netip.MustParseAddr("224.0.0.81")
	}
	if d.MaxLen == 0 {
		d.MaxLen = 1472
		if d.Group.Is6() {
			d.MaxLen = 1452
		}
	}
	if d.Port == 0 {
		d.Port = 8848
	}
	if d.TTL == 0 {
		d.TTL = 1
	}
	e.daemons = append(e.daemons, d)
	return nil
}

func (e *engine) Info() (control.Info, error) {
	return control.Info{Version: [3]uint8{1, 2, 1}, Size: 1 << 20}, nil
}

// Services gives a copy: listings sort what they get.
func (e *engine) Services() ([]control.ServiceEntry, error) {
	list := slices.Clone(e.entries)
	for i := range list {
		list[i].Servers = slices.Clone(list[i].Servers)
	}
	return list, nil
}

func (e *engine) Connections(yield func(control.ConnEntry) error) error {
	for _, c := range e.conns {
		if err := yield(c); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) Timeouts() (service.Timeouts, error) { return e.timeouts, nil }
func (e *engine) Daemons() ([]control.Daemon, error)  { return e.daemons, nil }
