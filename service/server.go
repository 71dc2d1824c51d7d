package service

import "sync/atomic"

// ServerClassic in Server.Flags selects the counting rules of kernels before 2026 (spec/schedulers.md 1.3 and 1.4; the
// tunable overhead: classic). It is kept beside the counts so that a scheduler's scan reads one line a server.
const ServerClassic uint32 = 1 << 2

// ServerBlind in Server.Flags: the scheduler of its service does not go by connection counts, so workers may add theirs up
// and settle them once a round (Settle). Writer: control.
const ServerBlind uint32 = 1 << 3

// Available tells whether the server is linked in a service.
func (s *Server) Available() bool { return atomic.LoadUint32(&s.Flags)&ServerAvailable != 0 }

// InUse tells whether the slot holds a server, linked or in the trash. Control path only.
func (s *Server) InUse() bool { return s.State == slotLinked || s.State == slotTrash }

// Overloaded tells whether the upper threshold keeps new connections away.
func (s *Server) Overloaded() bool { return atomic.LoadUint32(&s.Flags)&ServerOverload != 0 }

// LoadWeight reads the weight; 0 is quiesced.
func (s *Server) LoadWeight() int32 { return atomic.LoadInt32(&s.Weight) }

// LoadLastWeight reads the last weight that was not 0.
func (s *Server) LoadLastWeight() int32 { return atomic.LoadInt32(&s.LastWeight) }

// LoadMethod reads the forwarding method.
func (s *Server) LoadMethod() Method { return Method(atomic.LoadUint32(&s.Forward)) }

// LoadActive reads the number of active connections.
func (s *Server) LoadActive() int32 { return atomic.LoadInt32(&s.Active) }

// Counts reads the connection counts, each on its own.
func (s *Server) Counts() (active, inactive, persistent int32) {
	return atomic.LoadInt32(&s.Active), atomic.LoadInt32(&s.Inactive), atomic.LoadInt32(&s.Persistent)
}

// Usable tells whether a scheduler may choose the server: it has a weight and is not overloaded.
func (s *Server) Usable() bool { return s.LoadWeight() > 0 && !s.Overloaded() }

// Overhead is the load that lc, wlc, lblc, lblcr and twos compare: active·256 plus all connections, or, classic,
// active·256 plus the inactive ones (spec/schedulers.md 1.3). This is the one place that knows the rule.
func (s *Server) Overhead() int64 {
	active, inactive := int64(atomic.LoadInt32(&s.Active)), int64(atomic.LoadInt32(&s.Inactive))
	if atomic.LoadUint32(&s.Flags)&ServerClassic != 0 {
		return active<<8 + inactive
	}
	return active<<8 + active + inactive
}

// Delay is the load that sed and nq compare.
func (s *Server) Delay() int64 { return int64(atomic.LoadInt32(&s.Active)) + 1 }

// Bind counts a new connection, which begins inactive, or a persistence template, and applies the upper threshold.
//
//fastlb:hot
func (s *Server) Bind(template bool) {
	if template {
		atomic.AddInt32(&s.Persistent, 1)
		if atomic.LoadUint32(&s.Flags)&ServerClassic == 0 {
			return
		}
	} else {
		atomic.AddInt32(&s.Inactive, 1)
	}
	s.raise()
}

// Unbind takes a connection, which was active or inactive, or a template off the counts and applies the lower
// threshold.
//
//fastlb:hot
func (s *Server) Unbind(template, active bool) {
	switch {
	case template:
		atomic.AddInt32(&s.Persistent, -1)
		if atomic.LoadUint32(&s.Flags)&ServerClassic == 0 {
			return
		}
	case active:
		atomic.AddInt32(&s.Active, -1)
	default:
		atomic.AddInt32(&s.Inactive, -1)
	}
	s.lower()
	s.tell()
}

// Activate moves a connection from the inactive to the active ones. Their sum, which the thresholds look at, is the same
// before and after.
//
//fastlb:hot
func (s *Server) Activate() {
	atomic.AddInt32(&s.Active, 1)
	atomic.AddInt32(&s.Inactive, -1)
}

// Deactivate is the reverse of Activate.
//
//fastlb:hot
func (s *Server) Deactivate() {
	atomic.AddInt32(&s.Inactive, 1)
	atomic.AddInt32(&s.Active, -1)
	s.tell()
}

// Lazy tells whether connections may be counted a round late: nobody chooses by the counts, and there is no threshold.
//
//fastlb:hot
func (s *Server) Lazy() bool {
	return atomic.LoadUint32(&s.Flags)&ServerBlind != 0 && atomic.LoadUint32(&s.Upper) == 0
}

// Settle adds what a worker has counted of a lazy server: changes of the active and the inactive connections. The counts
// are one cache line that all workers write, so it costs less to do it once a round than for every connection. A
// threshold that was set meanwhile is applied.
func (s *Server) Settle(active, inactive int32) {
	if active != 0 {
		atomic.AddInt32(&s.Active, active)
	}
	if inactive != 0 {
		atomic.AddInt32(&s.Inactive, inactive)
	}
	s.raise()
	s.lower()
	if active < 0 || inactive < 0 {
		s.tell()
	}
}

// total is the number of connections that the thresholds look at.
func (s *Server) total() int64 {
	return int64(atomic.LoadInt32(&s.Active)) + int64(atomic.LoadInt32(&s.Inactive))
}

// lowMark is the count below which an overloaded server is one no more: the lower threshold, or three quarters of the
// upper. Both rules agree on it: 4·n < 3·x and n < x - x/4 (whole numbers) are the same.
func (s *Server) lowMark() int64 {
	if l := atomic.LoadUint32(&s.Lower); l != 0 {
		return int64(l)
	}
	x := int64(atomic.LoadUint32(&s.Upper))
	return x - x/4
}

// raise sets the overload flag when the upper threshold is reached.
func (s *Server) raise() {
	x := int64(atomic.LoadUint32(&s.Upper))
	if x == 0 || s.total() < x || s.Overloaded() {
		return
	}
	s.setFlags(ServerOverload, 0)
	if s.total() < s.lowMark() { // another worker took the last connection away meanwhile
		s.setFlags(0, ServerOverload)
		s.tell()
	}
}

// lower clears the overload flag when the count has fallen below the low mark.
func (s *Server) lower() {
	if s.Overloaded() && (atomic.LoadUint32(&s.Upper) == 0 || s.total() < s.lowMark()) {
		s.setFlags(0, ServerOverload)
	}
}

// limit stores new thresholds. The classic rule clears the flag when the upper one grows or goes and never sets it;
// that of 2026 looks at the count again, both ways (asked of Linux 7.3: sched/testdata, cases probe/edit-…).
func (s *Server) limit(upper, lower uint32) {
	old := atomic.LoadUint32(&s.Upper)
	atomic.StoreUint32(&s.Upper, upper)
	atomic.StoreUint32(&s.Lower, lower)
	if atomic.LoadUint32(&s.Flags)&ServerClassic != 0 {
		if upper == 0 || upper > old {
			s.setFlags(0, ServerOverload)
		}
		return
	}
	s.raise()
	s.lower()
}

// setFlags sets and clears bits of Flags.
func (s *Server) setFlags(set, clear uint32) {
	for {
		old := atomic.LoadUint32(&s.Flags)
		if old&^clear|set == old {
			return
		}
		if atomic.CompareAndSwapUint32(&s.Flags, old, old&^clear|set) {
			return
		}
	}
}

// weigh stores a weight as an edit does: the last one that was not 0 is kept (spec/schedulers.md 1.2).
func (s *Server) weigh(w int32, add bool) {
	atomic.StoreInt32(&s.Weight, w)
	if add || w != 0 {
		atomic.StoreInt32(&s.LastWeight, w)
	}
}

// ID is the server's name within its service.
func (s *Server) ID() ServerID { return ServerID{Addr: s.Addr.Netip(), Port: s.Port} }

// Spec is the server as the user asked for it.
func (s *Server) Spec() ServerSpec {
	fwd := atomic.LoadUint32(&s.Forward)
	return ServerSpec{
		ServerID: s.ID(), Method: s.LoadMethod(), Weight: s.LoadWeight(),
		Upper: atomic.LoadUint32(&s.Upper), Lower: atomic.LoadUint32(&s.Lower),
		Tunnel: TunnelType(fwd >> 8), TunPort: uint16(atomic.LoadUint32(&s.TunPort)), TunSum: TunnelChecksum(fwd >> 16),
	}
}
