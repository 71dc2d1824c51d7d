package service

import (
	"runtime"
	"sync/atomic"
)

// picker is a service's scheduler and the word that serialises it. All frozen copies of a service share it, so cursors
// and caches live across snapshots; a change of scheduler makes a new one.
type picker struct {
	busy      atomic.Uint32 // 1: somebody is inside; writer: any worker and the control path, by CAS
	scheduler Scheduler     // nil: "none"
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
