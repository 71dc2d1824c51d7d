package service

import (
	"fmt"
	"slices"

	"github.com/fastlb/fastlb/packet"
)

// AddrKind is what the director knows about an address that a server shall have.
type AddrKind uint8

const (
	AddrUnicast   AddrKind = iota // an ordinary address
	AddrLocal                     // the director's own
	AddrBroadcast                 // a network's broadcast address
)

// Table is the desired state: services and their servers, with the semantics, the order of checks and the errors of the
// kernel's ip_vs control interface. Every operation applies whole or not at all. It belongs to one goroutine; workers see
// it through Snapshot, the slots and the schedulers.
type Table struct {
	// Kind tells what an address is, for the check of new servers' addresses; nil: nothing is known about any.
	Kind func(addr packet.Addr) AddrKind
	// Syncing is set while a sync daemon runs: then servers of another family than their service's are refused.
	Syncing bool
	// Defer lets schedulers hear of servers added to a service that workers already know only at Settle, which is to be
	// called when the workers have the next snapshot: else a new connection may go to a server that its worker does not
	// know yet, and its first packet is lost.
	Defer bool

	slots    *Slots
	make     func(name string) (Scheduler, error)
	counters *Counters
	services []*entry // in the order of creation
	byID     map[ID]*entry
	trash    map[identity]*Server
	anchors  []*Server // of services that are gone: see watch.go
	marks    []Mark
	last     uint32 // number of the service made last
	classic  bool
	books    ledger
}

// entry is a service with what only the control path knows of it.
type entry struct {
	Service
	frozen  *Service // the copy in the last snapshot, while nothing has changed
	residue Stats    // what servers counted that have left
	zero    Stats    // where -Z was
	anchor  *Server  // hears of falling loads; nil: few servers
	seen    bool     // was in a snapshot
	added   []added  // what the scheduler has not heard of yet
}

// added is a server that was added, and the list with it.
type added struct {
	servers []*Server
	subject *Server
}

// settle tells the scheduler of the servers added meanwhile.
func (e *entry) settle() {
	for _, a := range e.added {
		e.picker.update(a.servers, ServerAdded, a.subject)
	}
	e.added = nil
}

// Settle tells the schedulers of all servers added meanwhile (Defer).
func (t *Table) Settle() {
	for _, e := range t.services {
		e.settle()
	}
}

// NewTable makes an empty table over slots. makeScheduler is asked for a scheduler by its name and says ErrNoScheduler
// for one that it does not know; it is not asked for "none". Servers that the slots hold from before are in the trash.
func NewTable(slots *Slots, makeScheduler func(name string) (Scheduler, error)) *Table {
	t := &Table{slots: slots, make: makeScheduler, byID: map[ID]*entry{}, trash: map[identity]*Server{}}
	slots.removed(func(s *Server) { t.trash[identityOf(s)] = s })
	return t
}

// None is the name of no scheduler.
const None = "none"

// AddService makes a service without servers. Checks in the kernel's order: ErrFamily, ErrServiceExists,
// ErrNoScheduler (also for an unknown persistence engine), ErrInvalid for an IPv6 prefix length.
func (t *Table) AddService(spec Spec) error {
	if spec.Family != 4 && spec.Family != 6 {
		return fmt.Errorf("%s: %w", spec.ID, ErrFamily)
	}
	if t.byID[spec.ID] != nil {
		return fmt.Errorf("%s: %w", spec.ID, ErrServiceExists)
	}
	p, err := t.check(&spec)
	if err != nil {
		return err
	}
	p.update(nil, Init, nil)
	t.last++
	e := &entry{Service: Service{Spec: spec, Number: t.last, VAddr: packet.AddrFrom(spec.Addr), picker: p}}
	t.services = append(t.services, e)
	t.byID[spec.ID] = e
	return nil
}

// check makes the scheduler of a spec and brings the spec into its stored form.
func (t *Table) check(spec *Spec) (*picker, error) {
	var scheduler Scheduler
	if spec.Scheduler == "" {
		spec.Scheduler = None
	}
	if spec.Scheduler != None {
		s, err := t.make(spec.Scheduler)
		if err != nil {
			return nil, fmt.Errorf("%s: scheduler %q: %w", spec.ID, spec.Scheduler, err)
		}
		scheduler = s
	}
	if spec.Engine != "" && spec.Engine != "sip" {
		return nil, fmt.Errorf("%s: persistence engine %q: %w", spec.ID, spec.Engine, ErrNoScheduler)
	}
	if spec.Family == 6 && (spec.Netmask < 1 || spec.Netmask > 128) {
		return nil, fmt.Errorf("%s: prefix length %d is not 1 to 128: %w", spec.ID, spec.Netmask, ErrInvalid)
	}
	return newPicker(scheduler), nil
}

// EditService replaces everything about a service but its servers. A scheduler of the same name keeps its state; another
// one starts with the present list (spec/schedulers.md 1.6).
func (t *Table) EditService(spec Spec) error {
	e, err := t.find(spec.ID)
	if err != nil {
		return err
	}
	p, err := t.check(&spec)
	if err != nil {
		return err
	}
	if spec.Scheduler == e.Scheduler {
		p = e.picker
	} else if err := fits(p.scheduler, len(e.Servers)); err != nil {
		return fmt.Errorf("%s: scheduler %q: %w", spec.ID, spec.Scheduler, err)
	} else {
		p.update(e.Servers, Init, nil)
	}
	e.settle()
	e.Spec, e.picker, e.frozen = spec, p, nil
	e.tellBlind()
	return nil
}

// DeleteService removes a service and its servers; their connections stay (spec/ipvsadm.md 3).
func (t *Table) DeleteService(id ID) error {
	e, err := t.find(id)
	if err != nil {
		return err
	}
	t.drop(e)
	t.services = slices.DeleteFunc(t.services, func(o *entry) bool { return o == e })
	return nil
}

// Flush removes all services.
func (t *Table) Flush() {
	for _, e := range t.services {
		t.drop(e)
	}
	t.services = nil
}

// drop takes a service apart; the caller removes it from the list.
func (t *Table) drop(e *entry) {
	for _, s := range e.Servers {
		t.leave(e, s)
	}
	t.close(e)
	if e.anchor != nil {
		t.anchors = append(t.anchors, e.anchor)
	}
	e.Servers = nil
	delete(t.byID, e.ID)
}

func (t *Table) find(id ID) (*entry, error) {
	if e := t.byID[id]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%s: %w", id, ErrNoService)
}

// Service finds a service; ErrNoService. It is the table's own: read only.
func (t *Table) Service(id ID) (*Service, error) {
	e, err := t.find(id)
	if err != nil {
		return nil, err
	}
	return &e.Service, nil
}

// Services lists the services in the order of their creation. They are the table's own: read only, and good until the
// next operation.
func (t *Table) Services() []*Service {
	list := make([]*Service, len(t.services))
	for i, e := range t.services {
		list[i] = &e.Service
	}
	return list
}

// SetMarks replaces the marks that packets are given.
func (t *Table) SetMarks(marks []Mark) { t.marks = slices.Clone(marks) }

// Marks are the marks in order; read only.
func (t *Table) Marks() []Mark { return t.marks }

// SetClassic chooses between the counting rules of kernels before 2026 and later ones for all servers.
func (t *Table) SetClassic(classic bool) {
	t.classic = classic
	for n := uint32(1); n <= t.slots.High(); n++ {
		if s := t.slots.Get(n); s.InUse() {
			t.rule(s)
			s.tell()
		}
	}
}

// rule stores the counting rule in a server's flags.
func (t *Table) rule(s *Server) {
	if t.classic {
		s.setFlags(ServerClassic, 0)
	} else {
		s.setFlags(0, ServerClassic)
	}
}

// Snapshot freezes the present state. Services that have not changed since the last one share its copy.
func (t *Table) Snapshot() *Snapshot {
	list := make([]*Service, len(t.services))
	for i, e := range t.services {
		e.seen = true
		if e.frozen == nil {
			c := e.Service
			e.frozen = &c
		}
		list[i] = e.frozen
	}
	return NewSnapshot(list, t.marks)
}
