package ring

import "sync/atomic"

// consumer is our half of a ring that the other side fills: the RX ring (descriptors) and the completion ring (frame
// addresses). It mirrors producer.
type consumer[T any] struct {
	shared *atomic.Uint32 // consumer index: written by us (release), read by the producer; the store gives the slots back
	peer   *atomic.Uint32 // producer index: written by the producer, read by us; its store publishes the slots before it
	slots  []T
	mask   uint32
	tail   uint32 // next index to read; equals *shared after release
	limit  uint32 // tail may grow up to here: producer index when last read
	bad    bool   // the producer index was seen where it cannot be; the ring is then treated as empty
}

func newConsumer[T any](shared, peer *atomic.Uint32, slots []T) consumer[T] {
	c := consumer[T]{shared: shared, peer: peer, slots: slots, mask: uint32(len(slots)) - 1}
	c.tail = shared.Load()
	c.limit = c.tail
	return c
}

// ready returns how many slots may be read, at most want. The producer's index is read only when the slots known from
// the last time do not suffice.
//
//fastlb:hot
func (c *consumer[T]) ready(want uint32) uint32 {
	n := c.limit - c.tail
	if n < want {
		n = c.refresh()
	}
	return min(n, want)
}

// refresh reads the producer's index again and returns the filled slots.
func (c *consumer[T]) refresh() uint32 {
	n := c.peer.Load() - c.tail
	if c.bad = n > uint32(len(c.slots)); c.bad {
		n = 0 // never read slots that were not written
	}
	c.limit = c.tail + n
	return n
}

// slot is the i-th readable slot; i < ready.
//
//fastlb:hot
func (c *consumer[T]) slot(i uint32) *T { return &c.slots[(c.tail+i)&c.mask] }

// take copies len(v) slots, which ready allowed, out of the ring in at most two pieces.
//
//fastlb:hot
func (c *consumer[T]) take(v []T) {
	n := copy(v, c.slots[c.tail&c.mask:])
	copy(v[n:], c.slots)
}

// release gives the first n slots back to the producer. One atomic store a batch.
//
//fastlb:hot
func (c *consumer[T]) release(n uint32) {
	c.tail += n
	c.shared.Store(c.tail)
}
