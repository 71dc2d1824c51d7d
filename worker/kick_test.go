package worker

import (
	"testing"

	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

// A full batch costs one system call, on the port that it leaves by, and an empty round costs none: in copy mode, where
// the kernel always asks for the call.
func TestKicksABatch(t *testing.T) {
	r := newRig(t, 1)
	r.service(service.UDP, "10.9.0.1", 53, service.DR, "10.2.0.11")
	var calls [2]int
	budget := 64 // packets that the kernel sends a call
	for port, k := range r.lanes[0].kernels {
		k.Behave(true, false)
		k.NeedWakeup(true, false)
		k.OnWakeTX = func() ring.Wake {
			calls[port]++
			var d [64]ring.Desc
			for _, v := range d[:k.Take(d[:budget])] {
				k.Feed([]uint64{v.Addr})
			}
			return ring.WakeDone
		}
		k.OnWakeRX = func() ring.Wake { t.Error("woken for receiving"); return ring.WakeDone }
	}
	round := func(packets int) [2]int {
		t.Helper()
		for i := range packets {
			r.give(0, 0, udp("10.1.0.1", uint16(1000+i), "10.9.0.1", 53, 8))
		}
		calls = [2]int{}
		if n := r.workers[0].Round(r.now); n != packets {
			t.Fatalf("%d packets in a round of %d", n, packets)
		}
		return calls
	}
	round(0) // fills the fill rings
	for _, c := range []struct {
		what            string
		packets, budget int
		want            [2]int
	}{
		{"a full batch", 64, 64, [2]int{0, 1}},
		{"nothing", 0, 64, [2]int{}},
		{"one packet", 1, 64, [2]int{0, 1}},
		{"nothing", 0, 64, [2]int{}},
		{"a batch for a kernel that sends 32 a call", 64, 32, [2]int{0, 1}},
		{"nothing, with 32 left to send", 0, 32, [2]int{0, 1}},
		{"nothing, and nothing left", 0, 32, [2]int{}},
	} {
		budget = c.budget
		if got := round(c.packets); got != c.want {
			t.Errorf("%s: %v calls by port, want %v", c.what, got, c.want)
		}
	}
	r.account()
}
