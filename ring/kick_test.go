package ring_test

import (
	"testing"

	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/ring/ringtest"
)

// send puts n new packets on the TX ring.
func send(t *testing.T, f *ring.Frames, s *ring.Socket, n int) {
	t.Helper()
	for range n {
		addr, ok := f.Get()
		if !ok || s.Transmit([]ring.Desc{{Addr: addr, Len: 60}}) != 1 {
			t.Fatal("no frame, or no room in the TX ring")
		}
	}
}

// kicks is what a kick did: calls by direction.
func kicks(s *ring.Socket, k *ringtest.Kernel) [2]int {
	tx, rx := k.WakesTX, k.WakesRX
	s.Kick()
	return [2]int{k.WakesTX - tx, k.WakesRX - rx}
}

// In copy mode one call a batch sends it; a kernel that sends less is called again; completions are not waited for.
func TestKickCopyMode(t *testing.T) {
	f, s, k := newSocket(t, 16, ring.Sizes{Fill: 4, Completion: 8, RX: 4, TX: 8})
	k.Behave(true, false)
	k.NeedWakeup(true, false) // in copy mode the kernel never takes it back
	k.NoCompletions = true
	if n := kicks(s, k); n != [2]int{} {
		t.Errorf("nothing to send: %v calls", n)
	}
	send(t, f, s, 8)
	if n := kicks(s, k); n != [2]int{1, 0} || !s.Unsent() {
		t.Errorf("a batch: %v calls", n)
	}
	k.MaxSend = 5
	k.Send()
	if n := kicks(s, k); n != [2]int{1, 0} || !s.Unsent() {
		t.Errorf("three of eight packets are left: %v calls", n)
	}
	k.Send()
	if n := kicks(s, k); n != [2]int{} || s.Unsent() || s.Outstanding() != 8 {
		t.Errorf("all is sent, %d not completed: %v calls", s.Outstanding(), n)
	}
	census(t, f, s, k)
}

// A zero-copy driver that asks is woken until it has completed everything, and left alone when it does not ask.
func TestKickZeroCopy(t *testing.T) {
	f, s, k := newSocket(t, 16, ring.Sizes{Fill: 4, Completion: 8, RX: 4, TX: 8})
	k.NeedWakeup(true, false)
	k.NoCompletions = true
	send(t, f, s, 8)
	k.Send()
	if n := kicks(s, k); n != [2]int{1, 0} || !s.Unsent() {
		t.Errorf("sent and not completed: %v calls", n)
	}
	k.NeedWakeup(false, true)
	if n := kicks(s, k); n != [2]int{0, 1} {
		t.Errorf("it wants frames to receive into: %v calls", n)
	}
	k.NeedWakeup(false, false)
	if n := kicks(s, k); n != [2]int{} {
		t.Errorf("it asks for nothing: %v calls", n)
	}
	census(t, f, s, k)
}

// With busy polling there is one call a kick, whatever is to do: each of them makes the kernel look at both directions.
func TestKickBusyPolling(t *testing.T) {
	for _, copies := range []bool{true, false} {
		f, s, k := newSocket(t, 16, ring.Sizes{Fill: 4, Completion: 8, RX: 4, TX: 8})
		k.Behave(copies, true)
		k.NeedWakeup(copies, false)
		k.NAPI = 8193
		s.Refill(f)
		if n := kicks(s, k); n != [2]int{} {
			t.Errorf("copy mode %v, nobody knows yet whether there is something to poll: %v calls", copies, n)
		}
		k.Inject(packetNumber(0))
		d := make([]ring.Desc, 1)
		if s.Receive(d) != 1 || s.Counters().NAPI.Load() != 8193 {
			t.Errorf("polls NAPI %d", s.Counters().NAPI.Load())
		}
		f.Put(d[0].Addr)
		if n := kicks(s, k); n != [2]int{0, 1} {
			t.Errorf("copy mode %v, nothing to send: %v calls", copies, n)
		}
		k.NeedWakeup(true, true)
		send(t, f, s, 8)
		if n := kicks(s, k); n != [2]int{1, 0} {
			t.Errorf("copy mode %v, a batch: %v calls", copies, n)
		}
		k.Send()
		s.Complete(f)
		if n := kicks(s, k); n != [2]int{0, 1} {
			t.Errorf("copy mode %v, all is sent: %v calls", copies, n)
		}
		census(t, f, s, k)
	}
	// A driver whose busy polling does not send is woken, after some time; one that only lags behind is not.
	for _, sends := range []bool{true, false} {
		f, s, k := newSocket(t, 16, ring.Sizes{Fill: 4, Completion: 8, RX: 4, TX: 8})
		k.Behave(false, true)
		k.NAPI = 8193
		s.Refill(f)
		k.Inject(packetNumber(0))
		d := make([]ring.Desc, 1)
		s.Receive(d)
		f.Put(d[0].Addr)
		k.MaxSend = 1
		send(t, f, s, 8)
		for i := range 500 {
			s.Kick()
			if sends && i%50 == 49 {
				k.Send()
				s.Complete(f)
				send(t, f, s, 1)
			}
		}
		if k.Woken == sends {
			t.Errorf("a driver that sends %v is woken %v", sends, k.Woken)
		}
		census(t, f, s, k)
	}
	// A queue that nothing polls (generic mode) is left to its interrupts.
	f, s, k := newSocket(t, 16, ring.Sizes{Fill: 4, Completion: 8, RX: 4, TX: 8})
	k.Behave(true, true)
	s.Refill(f)
	k.Inject(packetNumber(0))
	d := make([]ring.Desc, 1)
	s.Receive(d)
	if n := kicks(s, k); n != [2]int{} || s.Counters().NAPI.Load() != ring.NoNAPI {
		t.Errorf("no NAPI: %v calls", n)
	}
	census(t, f, s, k, d[0].Addr)
}
