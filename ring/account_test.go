package ring_test

import (
	"testing"

	"github.com/fastlb/fastlb/ring"
)

// A frame is followed from the fill ring to the completion ring.
func TestAccount(t *testing.T) {
	f, s, k := newSocket(t, 24, ring.Sizes{Fill: 8, Completion: 8, RX: 8, TX: 8})
	want := func(when string, free int, a ring.Account) {
		t.Helper()
		if got := s.Account(); got != a || f.Len() != free {
			t.Errorf("%s: %+v and %d free, want %+v and %d", when, got, f.Len(), a, free)
		}
	}
	want("at first", 24, ring.Account{})
	s.Refill(f)
	want("refilled", 16, ring.Account{Filled: 8})
	k.Inject(packetNumber(0), packetNumber(1), packetNumber(2)) // it takes all of the fill ring
	want("received by the kernel", 16, ring.Account{InDriver: 5, Received: 3})
	s.Refill(f)
	want("refilled again", 8, ring.Account{Filled: 8, InDriver: 5, Received: 3})
	d := make([]ring.Desc, 8)
	if n := s.Receive(d); n != 3 {
		t.Fatalf("received %d", n)
	}
	want("in the worker's hands", 8, ring.Account{Filled: 8, InDriver: 5})
	f.Put(d[2].Addr)
	s.Transmit(d[:2])
	want("transmitted", 9, ring.Account{Filled: 8, InDriver: 5, Sending: 2})
	k.Send()
	want("sent", 9, ring.Account{Filled: 8, InDriver: 5, Sending: 2})
	s.Complete(f)
	want("completed", 11, ring.Account{Filled: 8, InDriver: 5})
	if a := s.Account(); a.Frames()+f.Len() != 24 {
		t.Errorf("%d frames of 24", a.Frames()+f.Len())
	}
}
