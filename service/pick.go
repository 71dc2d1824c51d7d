package service

import (
	"runtime"
	"sync/atomic"
)

// picker is a service's scheduler and the word that serialises it. All frozen copies of a service share it, so cursors
// and caches live across snapshots; a change of scheduler makes a new one.
type picker struct {
	_         [64]byte       // what all read and nobody writes is apart from what all write
	busy      *atomic.Uint32 // 1: somebody is inside; writer: any worker and the control path, by CAS
	scheduler Scheduler      // nil: "none"
	_         [104]byte
	own       atomic.Uint32 // busy, unless the scheduler has a word
	_         [60]byte
}

// worded is implemented by schedulers that have the word beside what each choice changes: one cache line goes from worker
// to worker then, not two.
type worded interface{ Word() *atomic.Uint32 }

func newPicker(s Scheduler) *picker {
	p := &picker{scheduler: s}
	p.busy = &p.own
	if w, ok := s.(worded); ok {
		p.busy = w.Word()
	}
	return p
}

// lock waits for the word. Holders are short (a scheduler's choice); only a control change that rebuilds a table takes
// longer, and then giving the processor away helps.
func (p *picker) lock() {
	for n := 1; p.busy.Load() != 0 || !p.busy.CompareAndSwap(0, 1); n++ {
		if n%4096 == 0 {
			runtime.Gosched()
		}
	}
}

func (p *picker) unlock() { p.busy.Store(0) }

// blind is implemented by schedulers whose choice does not depend on how many connections the servers have, but for the
// thresholds.
type blind interface{ Blind() }

// tellBlind marks the service's servers for the workers: whether their connections may be counted a round late.
func (e *entry) tellBlind() {
	_, is := e.picker.scheduler.(blind)
	for _, s := range e.Servers {
		if is {
			s.setFlags(ServerBlind, 0)
		} else {
			s.setFlags(0, ServerBlind)
		}
	}
}

// update tells the scheduler of a change.
func (p *picker) update(servers []*Server, ev Event, subject *Server) {
	if p.scheduler == nil {
		return
	}
	p.lock()
	p.scheduler.Update(servers, ev, subject)
	p.unlock()
}

// Pick asks the scheduler for the server of a new connection; nil: there is none. It fills in the request's Flags and
// Family. Any number of workers may call it; it does not allocate and makes no system call.
func (s *Service) Pick(r *Request) *Server {
	p := s.picker
	if p == nil || p.scheduler == nil {
		return nil
	}
	r.Flags, r.Family = s.Flags, s.Family
	p.lock()
	server := p.scheduler.Schedule(r)
	p.unlock()
	return server
}
