package worker

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/service"
)

// Defence is the drop_packet defence's count: one for all workers of a director, so that it is every so manieth packet of
// all. It is written only while the defence is on, by packets that would open a connection.
type Defence struct {
	left  atomic.Int32 // packets until the next one is dropped; 0 at first, so that it is the first
	since atomic.Int64 // clock.Time at which the count began anew
}

// drops counts a packet that would open a connection, and tells whether it is to be dropped. In automatic mode (2) the
// count begins anew every second (spec/connections.md 11.3).
func (d *Defence) drops(t *service.Tunables, now int64) bool {
	rate := t.AMDropRate
	if t.DropPacket == 0 || rate == 0 {
		return false
	}
	if t.DropPacket == 2 {
		if began := d.since.Load(); now-began >= int64(clock.Second) && d.since.CompareAndSwap(began, now) {
			d.left.Store(rate)
		}
	}
	for {
		n := d.left.Load()
		if n > 1 {
			if d.left.CompareAndSwap(n, n-1) {
				return false
			}
		} else if d.left.CompareAndSwap(n, rate) {
			return true
		}
	}
}
