package service

import "sync/atomic"

// A scheduler over many servers keeps an index instead of scanning them. Loads that grow it finds out by itself, when it
// is about to choose; loads that fall it has to be told of. Each service with many servers has an anchor: a slot that
// holds nobody, but the head of a stack of the servers whose load has fallen. Workers push (Unbind, Deactivate, the end
// of an overload), the scheduler takes all at its next choice. Everything is a slot number, so that it works in the
// memory that outlasts the process, although nothing of it is meant to.
//
//	anchor.NextChange ──▶ server.NextChange ──▶ server.NextChange = 0
//
// A server is on one stack at most (Changed). It stays with its anchor in the trash, and leaves it when it is freed or
// joins a service with another one.

// watchFrom is the number of servers from which on a service has an anchor.
const watchFrom = 32

// tell pushes the server onto its anchor's stack, unless it is on it.
func (s *Server) tell() {
	if atomic.LoadUint32(&s.Watch) == 0 || !atomic.CompareAndSwapUint32(&s.Changed, 0, 1) {
		return
	}
	n := atomic.LoadUint32(&s.Watch) // again: what was there before may have been emptied and forgotten
	if n == 0 {
		atomic.StoreUint32(&s.Changed, 0)
		return
	}
	a := s.slot(n)
	for {
		head := atomic.LoadUint32(&a.NextChange)
		atomic.StoreUint32(&s.NextChange, head)
		if atomic.CompareAndSwapUint32(&a.NextChange, head, s.Number) {
			return
		}
	}
}

// Anchor is where the server's changes are told; nil: nowhere.
func (s *Server) Anchor() *Server {
	if n := atomic.LoadUint32(&s.Watch); n != 0 {
		return s.slot(n)
	}
	return nil
}

// TakeChanged empties an anchor's stack and returns the first server that was on it, or nil. Go on with NextChanged.
func (s *Server) TakeChanged() *Server {
	if atomic.LoadUint32(&s.NextChange) == 0 {
		return nil
	}
	return s.link(atomic.SwapUint32(&s.NextChange, 0))
}

// NextChanged returns the server after this one on a stack that was taken, or nil. From then on the server may be pushed
// again, so its load is to be read afterwards.
func (s *Server) NextChanged() *Server {
	next := atomic.LoadUint32(&s.NextChange)
	atomic.StoreUint32(&s.Changed, 0)
	return s.link(next)
}

func (s *Server) link(n uint32) *Server {
	if n == 0 {
		return nil
	}
	return s.slot(n)
}

// watch gives a service of many servers an anchor, and its servers to it. Control path only.
func (t *Table) watch(e *entry) {
	if e.anchor == nil {
		if len(e.Servers) < watchFrom {
			return
		}
		if n := len(t.anchors); n > 0 {
			e.anchor, t.anchors = t.anchors[n-1], t.anchors[:n-1]
		} else if e.anchor = t.slots.anchor(); e.anchor == nil {
			return // no slot to spare: schedulers scan
		}
	}
	for _, s := range e.Servers {
		if s.Watch != e.anchor.Number {
			unwatch(s)
			atomic.StoreUint32(&s.Watch, e.anchor.Number)
		}
	}
}

// unwatch takes a server off its anchor. Others on the stack are pushed again. Control path only.
func unwatch(s *Server) {
	a := s.Anchor()
	if a == nil {
		return
	}
	atomic.StoreUint32(&s.Watch, 0)
	for d := a.TakeChanged(); d != nil; {
		next := d.NextChanged()
		if d != s {
			d.tell()
		}
		d = next
	}
}
