package worker

import "github.com/fastlb/fastlb/service"

// loads are the changes of servers' connection counts that this worker has not told the servers of yet. A server's counts
// are one cache line which all workers write; where nobody chooses by them (service.Server.Lazy) they may be late by a
// round. One entry a server slot, and the numbers of those that have changed.
type loads struct {
	of      []load
	changed []uint32
}

type load struct {
	active, inactive int32
	listed           bool // in changed
}

func newLoads(slots int) loads {
	return loads{of: make([]load, slots+1), changed: make([]uint32, 0, slots+1)}
}

// count adds to what is to be told of a lazy server.
func (l *loads) count(s *service.Server, active, inactive int32) {
	p := &l.of[s.Number]
	p.active += active
	p.inactive += inactive
	if !p.listed {
		p.listed = true
		l.changed = append(l.changed, s.Number)
	}
}

// bind counts a new connection, which begins inactive.
func (w *Worker) bind(s *service.Server) {
	if s.Lazy() {
		w.loads.count(s, 0, 1)
	} else {
		s.Bind(false)
	}
}

// unbind takes a connection, which was active or inactive, or a template off the counts.
func (w *Worker) unbind(s *service.Server, template, active bool) {
	switch {
	case template || !s.Lazy():
		s.Unbind(template, active)
	case active:
		w.loads.count(s, -1, 0)
	default:
		w.loads.count(s, 0, -1)
	}
}

// activate moves a connection from the inactive to the active ones.
func (w *Worker) activate(s *service.Server) {
	if s.Lazy() {
		w.loads.count(s, 1, -1)
	} else {
		s.Activate()
	}
}

// deactivate is the reverse of activate.
func (w *Worker) deactivate(s *service.Server) {
	if s.Lazy() {
		w.loads.count(s, -1, 1)
	} else {
		s.Deactivate()
	}
}

// settle tells the servers what has been counted, at the end of the round.
func (w *Worker) settle() {
	for _, n := range w.loads.changed {
		p := &w.loads.of[n]
		if s := w.slots.Get(n); s != nil && p.active|p.inactive != 0 {
			s.Settle(p.active, p.inactive)
		}
		*p = load{}
	}
	w.loads.changed = w.loads.changed[:0]
}
