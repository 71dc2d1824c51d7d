package worker

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/store"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// track runs a connection's state machine on one packet, moves its server's counts, and re-arms its timer
// (spec/connections.md 4.4, 7).
func (w *Worker) track(ref flow.Ref, c *flow.Conn, dir flow.Dir, k *pkt) {
	if isIPsec(k.key.Proto) { // it follows a connection, and has no state machine
		w.rearm(ref, c, w.snap.Timeouts.UDP)
		return
	}
	switch c.Proto {
	case packet.ProtoTCP:
		w.transition(ref, c, dir, func(row flow.Row, state uint8) uint8 {
			return flow.NextTCP(row, k.p.Flags, state, w.snap.secure)
		})
	case packet.ProtoSCTP:
		if event, ok := flow.SCTPEvent(k.buf[min(k.l4+12, k.end):k.end]); ok {
			w.transition(ref, c, dir, func(row flow.Row, state uint8) uint8 { return flow.NextSCTP(row, event, state) })
		}
	default:
		if dir == flow.Out {
			w.assure(c)
		}
		w.rearm(ref, c, w.snap.Timeouts.UDP)
	}
}

// transition is one step of a TCP or SCTP state machine. State, INACTIVE and NOOUTPUT change in one compare-and-swap, so
// that two workers with a packet each of one connection move the server's counts exactly once.
func (w *Worker) transition(ref flow.Ref, c *flow.Conn, dir flow.Dir, next func(flow.Row, uint8) uint8) {
	for {
		old := c.LoadFlags()
		if old&(flow.FlagHashed|flow.FlagOnePacket) == 0 {
			return // removed meanwhile
		}
		row, changed := flow.RowOf(dir, old)
		state := uint8(old >> flow.StateShift)
		to := next(row, state)
		changed = changed&(1<<flow.StateShift-1) | uint32(to)<<flow.StateShift
		if to != state && to == flow.TCPSynRecv && dir == flow.In && c.Proto == packet.ProtoTCP {
			changed &^= flow.FlagReplied // begun anew
		}
		server := w.server(c)
		if server != nil && to != state {
			changed |= flow.FlagInactive
			if flow.Active(c.Proto, to) {
				changed &^= flow.FlagInactive
			}
		}
		if changed != old && !c.CASFlags(old, changed) {
			continue
		}
		switch {
		case old&^changed&flow.FlagInactive != 0:
			w.activate(server)
		case changed&^old&flow.FlagInactive != 0:
			w.deactivate(server)
		}
		if to != state && (c.Proto == packet.ProtoTCP && to == flow.TCPEstablished || c.Proto == packet.ProtoSCTP && to == flow.SCTPEstablished) {
			w.assure(c)
		}
		w.rearm(ref, c, w.snap.Timeouts.Of(c.Proto, to))
		return
	}
}

// rearm sets the connection's timer to timeout from now. Timeout remembers it: the deadline less the timeout is when the
// last packet was seen.
func (w *Worker) rearm(ref flow.Ref, c *flow.Conn, timeout int64) {
	if atomic.LoadInt64(&c.Timeout) != timeout {
		store.Store64(&c.Timeout, timeout)
	}
	if deadline := w.now + timeout; deadline < atomic.LoadInt64(&c.Deadline) {
		w.flows.Shorten(ref, deadline)
	} else {
		w.flows.Touch(c, deadline)
	}
}

// assure marks the template that directly controls c as ASSURED (spec/connections.md 5.4).
func (w *Worker) assure(c *flow.Conn) {
	control := c.Controller()
	if control == 0 {
		return
	}
	t := w.flows.Conn(control)
	for {
		old := t.LoadFlags()
		if old&flow.FlagTemplate == 0 || old&flow.FlagAssured != 0 || t.CASFlags(old, old|flow.FlagAssured) {
			return
		}
	}
}

// countIn counts a client packet at its server, if that is still in service.
func (w *Worker) countIn(c *flow.Conn, bytes int) {
	if s := w.slots.Get(c.Server); s != nil && s.Available() {
		w.counters.Line(w.id, c.Server).In(uint32(bytes))
	}
}

// countOut counts a server packet.
func (w *Worker) countOut(c *flow.Conn, bytes int) {
	if s := w.slots.Get(c.Server); s != nil && s.Available() {
		w.counters.Line(w.id, c.Server).Out(uint32(bytes))
	}
}

// expire is the table's call for a record whose time has come: it removes it, or says until when it is kept because others
// hang on it (spec/connections.md 2.6).
func (w *Worker) expire(ref flow.Ref) int64 {
	c := w.flows.Conn(ref)
	if !w.remove(ref, c) {
		atomic.StoreInt64(&c.Timeout, flow.KeepTimeout) // also what the next connection re-arms it with (spec/connections.md 2.6)
		return w.now + flow.KeepTimeout
	}
	return 0
}

// remove unlinks a connection and takes it off its server's counts and its controller. False: others hang on it, or
// somebody else removed it.
func (w *Worker) remove(ref flow.Ref, c *flow.Conn) bool {
	if !w.flows.Remove(w.id, ref) {
		return false
	}
	flags := c.LoadFlags()
	if s := w.server(c); s != nil {
		w.unbind(s, flags&flow.FlagTemplate != 0, flags&flow.FlagInactive == 0)
	}
	parent, left := w.flows.Detach(ref)
	if parent != 0 && left == 0 && flags&flow.FlagDropChain != 0 {
		if t := w.flows.Conn(parent); t.LoadFlags()&flow.FlagAssured == 0 {
			w.remove(parent, t)
		}
	}
	return true
}

// countPacket counts a client packet in the connection itself.
func (w *Worker) countPacket(c *flow.Conn) {
	store.Store32(&c.InPkts, atomic.LoadUint32(&c.InPkts)+1)
}

// server returns the slot of a connection's server, nil if it has none.
func (w *Worker) server(c *flow.Conn) *service.Server { return w.slots.Get(c.Server) }
