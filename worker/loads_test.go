package worker

import (
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// Whether connections are counted at once or once a round, after each round the servers' counts are the same: as they
// open, become active, end and expire, whichever worker has their packets, also when the scheduler changes in between.
func TestLoads(t *testing.T) {
	r := newRig(t, 2)
	id := r.service(service.TCP, "10.9.0.1", 80, service.DR, "10.2.0.11", "10.2.0.12")
	servers := r.table.Snapshot().Services[0].Servers
	lazy := func(want bool) {
		t.Helper()
		for _, s := range servers {
			if s.Lazy() != want {
				t.Errorf("%s: lazy is %v", s.Addr, !want)
			}
		}
	}
	counts := func(active, inactive int32) {
		t.Helper()
		for _, s := range servers {
			if a, i, _ := s.Counts(); a != active || i != inactive {
				t.Errorf("%s: %d active and %d inactive connections, want %d and %d", s.Addr, a, i, active, inactive)
			}
		}
	}
	play := func(worker int, flags uint8, ports ...uint16) {
		t.Helper()
		for _, p := range ports {
			r.give(worker, 0, tcp("10.1.0.1", p, "10.9.0.1", 80, flags, 0))
		}
		r.workers[worker].Round(r.now)
		r.take(worker)
	}
	lazy(true)
	play(0, packet.SYN, 1000, 1001, 1002, 1003)
	counts(2, 0)
	play(1, packet.ACK|packet.FIN, 1000, 1001)
	play(0, packet.SYN, 1004, 1005)
	counts(2, 1)

	edit := service.Spec{ID: id, Scheduler: "wlc", Netmask: 0xffffffff}
	if err := r.table.EditService(edit); err != nil {
		t.Fatal(err)
	}
	lazy(false)
	play(1, packet.SYN, 1006, 1007)
	counts(3, 1)
	edit.Scheduler = "wrr"
	if err := r.table.EditService(edit); err != nil {
		t.Fatal(err)
	}
	lazy(true)
	for range 2000 { // everything expires
		r.now += clock.Second
		play(0, packet.ACK)
		play(1, packet.ACK)
	}
	counts(0, 0)
	r.account()
}

// An upper threshold is kept within a batch: such servers are not counted late.
func TestLoadsThreshold(t *testing.T) {
	r := newRig(t, 1)
	id := r.service(service.TCP, "10.9.0.1", 80, service.DR, "10.2.0.11", "10.2.0.12")
	for _, s := range r.table.Snapshot().Services[0].Servers {
		limited := s.Spec()
		limited.Upper = 3
		if err := r.table.EditServer(id, limited); err != nil {
			t.Fatal(err)
		}
	}
	for p := range uint16(20) {
		r.give(0, 0, tcp("10.1.0.1", 1000+p, "10.9.0.1", 80, packet.SYN, 0))
	}
	r.workers[0].Round(r.now)
	if n := len(r.take(0)); n < 6 {
		t.Errorf("%d packets were sent", n)
	}
	for _, s := range r.table.Snapshot().Services[0].Servers {
		if a, i, _ := s.Counts(); a+i != 3 || s.Lazy() {
			t.Errorf("%s: %d connections, lazy %v", s.Addr, a+i, s.Lazy())
		}
	}
}
