package worker

import (
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/service"
)

// A worker that slept through many deadlines works them off in rounds that follow at once.
func TestSweepCatchesUp(t *testing.T) {
	const n = 3 * sweepMost
	r := newRigOf(t, 1, n)
	r.service(service.UDP, "10.9.0.1", 53, service.DR, "10.2.0.11")
	for i := range n {
		r.in(0, udp("10.1.0.1", uint16(i), "10.9.0.1", 53, 0))
	}
	r.now += clock.Time(r.timeouts.UDP) + clock.Second
	for range 4 {
		r.workers[0].Round(r.now)
		if r.workers[0].Wake() > r.now {
			break
		}
	}
	if left := r.flows.Len(); left >= sweepChunk { // a chunk is not worth a round
		t.Errorf("%d of %d connections outlived their time", left, n)
	}
}
