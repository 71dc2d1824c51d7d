package service

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
)

// AddServer links a server at the head of a service's list, reviving the one of the same identity from the trash with
// its connections and counts. Checks in the kernel's order: ErrNoService; ErrInvalid for another family than the service's
// without tunnel or while a sync daemon runs; ErrRange for a negative weight or lower > upper threshold; ErrInvalid for
// GUE without port; ErrServerExists; ErrInvalid for an address that is neither unicast nor local, or for more servers
// than the scheduler takes; ErrFull.
func (t *Table) AddServer(id ID, spec ServerSpec) error {
	e, err := t.find(id)
	if err != nil {
		return err
	}
	if err := t.checkServer(e, &spec); err != nil {
		return fmt.Errorf("%s: server %s: %w", id, spec.ServerID, err)
	}
	addr := packet.AddrFrom(spec.Addr)
	if e.server(addr, spec.Port) != nil {
		return fmt.Errorf("%s: server %s: %w", id, spec.ServerID, ErrServerExists)
	}
	if p := e.picker.scheduler; p != nil {
		if err := fits(p, len(e.Servers)+1); err != nil {
			return fmt.Errorf("%s: server %s: scheduler %q: %w", id, spec.ServerID, e.Scheduler, err)
		}
	}
	s := t.trash[e.identity(addr, spec.Port)]
	if s != nil {
		t.revive(e, s)
	} else {
		if !t.usable(addr) {
			return fmt.Errorf("%s: server %s: address is neither unicast nor the director's own: %w", id, spec.ServerID, ErrInvalid)
		}
		if s = t.slots.Alloc(); s == nil {
			return fmt.Errorf("%s: server %s: %w", id, spec.ServerID, ErrFull)
		}
		s.Addr, s.Port, s.Family = addr, spec.Port, family(spec.Addr)
		s.Protocol, s.Mark, s.SFamily = e.Protocol, e.Mark, e.Family
		s.VAddr, s.VPort = e.VAddr, e.Port
		t.rule(s)
		t.books.open(t.counters, s.Number)
	}
	s.Service, s.State = e.Number, slotLinked
	s.set(&spec, true)
	s.setFlags(ServerAvailable, 0)
	e.Servers = slices.Insert(slices.Clone(e.Servers), 0, s)
	e.frozen = nil
	t.watch(e)
	e.tellBlind()
	e.added = append(e.added, added{e.Servers, s})
	if !t.Defer || !e.seen {
		e.settle()
	}
	return nil
}

// EditServer replaces a server's settings; its place in the list stays. ErrNoServer if it is not there, else errors as
// of AddServer.
func (t *Table) EditServer(id ID, spec ServerSpec) error {
	e, err := t.find(id)
	if err != nil {
		return err
	}
	if err := t.checkServer(e, &spec); err != nil {
		return fmt.Errorf("%s: server %s: %w", id, spec.ServerID, err)
	}
	s := e.server(packet.AddrFrom(spec.Addr), spec.Port)
	if s == nil {
		return fmt.Errorf("%s: server %s: %w", id, spec.ServerID, ErrNoServer)
	}
	e.settle()
	s.set(&spec, false)
	e.frozen = nil
	e.picker.update(e.Servers, ServerEdited, s)
	return nil
}

// DeleteServer unlinks a server. It goes to the trash, where its connections keep it (spec/connections.md 8.1).
func (t *Table) DeleteServer(id ID, server ServerID) error {
	e, err := t.find(id)
	if err != nil {
		return err
	}
	s := e.server(packet.AddrFrom(server.Addr), server.Port)
	if s == nil {
		return fmt.Errorf("%s: server %s: %w", id, server, ErrNoServer)
	}
	e.settle()
	t.leave(e, s)
	e.Servers = slices.DeleteFunc(slices.Clone(e.Servers), func(o *Server) bool { return o == s })
	e.frozen = nil
	e.picker.update(e.Servers, ServerRemoved, s)
	return nil
}

// Server finds a server of a service; ErrNoService, ErrNoServer.
func (t *Table) Server(id ID, server ServerID) (*Server, error) {
	e, err := t.find(id)
	if err != nil {
		return nil, err
	}
	if s := e.server(packet.AddrFrom(server.Addr), server.Port); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%s: server %s: %w", id, server, ErrNoServer)
}

// checkServer makes the checks that do not look at the list, in the kernel's order.
func (t *Table) checkServer(e *entry, spec *ServerSpec) error {
	switch {
	case !spec.Addr.IsValid():
		return ErrFamily
	case family(spec.Addr) != e.Family && t.Syncing:
		return fmt.Errorf("another address family while a sync daemon runs: %w", ErrInvalid)
	case family(spec.Addr) != e.Family && spec.Method != Tunnel:
		return fmt.Errorf("another address family than the service's needs a tunnel: %w", ErrInvalid)
	case spec.Weight < 0:
		return fmt.Errorf("weight %d: %w", spec.Weight, ErrRange)
	case spec.Lower > spec.Upper:
		return fmt.Errorf("lower threshold %d above the upper one %d: %w", spec.Lower, spec.Upper, ErrRange)
	case spec.Tunnel == GUE && spec.TunPort == 0:
		return fmt.Errorf("gue tunnel without a port: %w", ErrInvalid)
	}
	return nil
}

// set stores what an edit may change.
func (s *Server) set(spec *ServerSpec, add bool) {
	atomic.StoreUint32(&s.Forward, uint32(spec.Method)|uint32(spec.Tunnel)<<8|uint32(spec.TunSum)<<16)
	atomic.StoreUint32(&s.TunPort, uint32(spec.TunPort))
	s.weigh(spec.Weight, add)
	s.limit(spec.Upper, spec.Lower)
}

// server finds a server in the list.
func (e *entry) server(addr packet.Addr, port uint16) *Server {
	for _, s := range e.Servers {
		if s.Addr == addr && s.Port == port {
			return s
		}
	}
	return nil
}

// usable is the kernel's test of a new server's address: the director's own, or unicast, which broadcast, 0.0.0.0 and
// IPv6's link-local addresses are not to it (asked of Linux 7.3; 0.1.2.3 and 240.0.0.1 pass).
func (t *Table) usable(addr packet.Addr) bool {
	kind := AddrUnicast
	if t.Kind != nil {
		kind = t.Kind(addr)
	}
	a := addr.Netip()
	switch {
	case kind == AddrLocal:
		return true
	case kind == AddrBroadcast || !a.IsValid() || a.IsMulticast():
		return false
	case a.Is4():
		return !a.IsUnspecified() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	return !a.IsLinkLocalUnicast()
}

// fits asks a scheduler with a limit whether it takes that many servers.
func fits(s Scheduler, n int) error {
	if l, ok := s.(interface{ Limit() int }); ok && n > l.Limit() {
		return fmt.Errorf("%d servers are more than its table holds: %w", n, ErrInvalid)
	}
	return nil
}

// identity is what a removed server is recognised by when it is added again.
type identity struct {
	addr, vaddr     packet.Addr
	mark            uint32
	port, vport     uint16
	proto           uint8
	family, sfamily uint8
}

func identityOf(s *Server) identity {
	return identity{s.Addr, s.VAddr, s.Mark, s.Port, s.VPort, s.Protocol, s.Family, s.SFamily}
}

func (e *entry) identity(addr packet.Addr, port uint16) identity {
	f := uint8(6)
	if addr.Is4() {
		f = 4
	}
	return identity{addr, e.VAddr, e.Mark, port, e.Port, e.Protocol, f, e.Family}
}

// leave moves a server to the trash.
func (t *Table) leave(e *entry, s *Server) {
	t.books.leave(t.counters, e, s.Number)
	s.setFlags(0, ServerAvailable)
	s.State, s.Removed = slotTrash, never
	t.trash[identityOf(s)] = s
}

// revive takes a server out of the trash for a service. Its statistics go on if the service is the one it left.
func (t *Table) revive(e *entry, s *Server) {
	delete(t.trash, identityOf(s))
	t.rule(s)
	if s.Service == e.Number {
		t.books.join(t.counters, s.Number)
	} else {
		t.books.open(t.counters, s.Number)
	}
}

// TrashIdle is how long a removed server without connections is kept for its return.
const TrashIdle = 120 * clock.Second

// EmptyTrash frees the removed servers that have had no connections for TrashIdle and returns how many there were. It is
// meant to be called every 60 seconds; a server's idle time begins when a call first finds it idle.
func (t *Table) EmptyTrash(now clock.Time) (freed int) {
	if len(t.trash) == 0 {
		return 0
	}
	t.slots.removed(func(s *Server) {
		active, inactive, persistent := s.Counts()
		switch {
		case active|inactive|persistent != 0:
		case s.Removed == never:
			s.Removed = int64(now)
		case now >= clock.Time(s.Removed)+TrashIdle:
			delete(t.trash, identityOf(s))
			unwatch(s)
			t.slots.Free(s)
			freed++
		}
	})
	return freed
}

// Trash is the number of removed servers that are still kept.
func (t *Table) Trash() int { return len(t.trash) }

// ClearCounts sets the connection counts of all servers to 0: before a recount of what the flow table holds, when no
// worker runs.
func (t *Table) ClearCounts() {
	for n := uint32(1); n <= t.slots.High(); n++ {
		s := t.slots.Get(n)
		if !s.InUse() {
			continue
		}
		atomic.StoreInt32(&s.Active, 0)
		atomic.StoreInt32(&s.Inactive, 0)
		atomic.StoreInt32(&s.Persistent, 0)
		s.setFlags(0, ServerOverload)
		s.tell()
	}
}
