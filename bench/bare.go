package bench

import (
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/worker"
)

// bare is the least that a forwarder can do with a packet: it swaps the MAC addresses, and knows nothing of IP. What a
// worker takes beyond it is the price of balancing.
type bare struct {
	port   *ring.Socket
	frames *ring.Frames
	batch  int
	descs  [worker.MaxBatch]ring.Desc
}

// Round is worker.Worker's with everything left out.
func (b *bare) Round(clock.Time) int {
	b.port.Complete(b.frames)
	d := b.descs[:b.port.Receive(b.descs[:b.batch])]
	ring.Prefetch(b.frames.Mem, d)
	for i := range d {
		h := (*[12]byte)(b.frames.Mem[d[i].Addr:])
		to := [6]byte(h[:6])
		copy(h[:6], h[6:])
		copy(h[6:], to[:])
	}
	for sent := b.port.Transmit(d); sent < len(d); sent++ {
		b.frames.Put(d[sent].Addr)
	}
	b.port.Refill(b.frames)
	b.port.Kick()
	return len(d)
}

// Idle is worker.Worker's: a bare forwarder holds nothing.
func (b *bare) Idle() {}
