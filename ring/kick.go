package ring

// Kick gives the kernel the system calls that it needs, and no other: at most one a direction, and with busy polling one
// in all. A round without a packet and with nothing on its way makes none.
//
//	                  sendto when                                        recvfrom when
//	copy mode         the TX ring holds what the kernel has not taken    never asked for
//	zero-copy         it asks (need_wakeup) and frames are outstanding   it asks: it ran out of frames to receive into
//	busy polling      as above                                           else, always: the call is the NIC's poll
//
// In copy mode the kernel sends inside the call and nowhere else, so what the ring still holds (a full peer, a kernel that
// sends 32 a call) is tried again by the next Kick; completions come by themselves. A zero-copy driver may clean up its
// completions only when it is woken, so there outstanding frames count, not unsent ones.
//
//fastlb:hot
func (s *Socket) Kick() {
	called := false
	if s.outstanding != 0 && s.tx.needsWakeup() && (!s.copies || s.tx.unread()) {
		called = true
		s.count(&s.counters.TXWakeups, 1)
		if r := s.kernel.wakeTX(); r != wakeDone {
			s.wakeTrouble(r)
		}
	}
	if s.busyPoll && !called || !s.busyPoll && s.fill.needsWakeup() {
		s.count(&s.counters.RXWakeups, 1)
		if r := s.kernel.wakeRX(); r != wakeDone {
			s.wakeTrouble(r)
		}
	}
	if s.preferred {
		s.watchTX()
	}
	if s.rx.bad || s.tx.bad || s.fill.bad || s.completion.bad {
		s.count(&s.counters.BadIndex, 1)
	}
}

// stuckKicks is how many kicks in a row may find the TX ring as the last one left it, before its driver is taken for one
// whose busy polling does not send.
const stuckKicks = 64

// watchTX finds out about drivers that send by another NAPI instance than they receive by (virtio-net): preferring busy
// polling, the kernel ignores need_wakeup and polls the receiving one alone, and nothing would ever be sent. Then busy
// polling goes on without the preference, and sending is woken as ever. Where the ring stands still for another reason (the
// link is down) no harm is done.
func (s *Socket) watchTX() {
	at := s.tx.peer.Load()
	if at == s.tx.head || at != s.seen {
		s.seen, s.stuck = at, 0
		return
	}
	if s.stuck++; s.stuck == stuckKicks {
		s.preferred = false
		s.kernel.unprefer()
	}
}

// wakeTrouble counts a wakeup that did not do all it was asked for.
func (s *Socket) wakeTrouble(r wakeResult) {
	c := &s.counters
	switch r {
	case wakeAgain:
		s.count(&c.Again, 1)
	case wakeBusy:
		s.count(&c.Busy, 1)
	case wakeNoBufs:
		s.count(&c.NoBufs, 1)
	case wakeNetDown:
		s.count(&c.NetDown, 1)
	default:
		s.count(&c.WakeFailed, 1)
	}
}

// decide finds out whether the socket's queue can be polled from here: whether the socket knows the NAPI instance that
// receives for it. Kernels since 6.13 say so when the socket is bound, if the driver tells them; earlier ones when the first
// packet has come. In generic mode there is none, nor over a veth of the later kernels.
func (s *Socket) decide() {
	s.undecided = false
	id := int64(s.kernel.napi())
	if s.busyPoll = id != 0; !s.busyPoll {
		id = NoNAPI
	}
	s.counters.NAPI.Store(id)
	s.preferred = s.busyPoll && !s.copies // in copy mode the call itself sends
}

// Unsent tells whether a Kick has still something to send: a sleeper must come back soon.
func (s *Socket) Unsent() bool { return s.outstanding != 0 && (!s.copies || s.tx.unread()) }
