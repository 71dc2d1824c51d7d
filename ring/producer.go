package ring

import "sync/atomic"

// producer is our half of a ring that we fill: the fill ring (frame addresses) and the TX ring (descriptors). The slots
// and indexes are borrowed memory, shared with a consumer: the kernel, or Kernel in tests and benchmarks.
//
// Indexes run freely modulo 2^32; a slot's place is index & mask. limit caches how far we may write without looking at
// the consumer's index, whose cache line belongs to the other side: it is read again only when the cache runs dry.
type producer[T any] struct {
	shared *atomic.Uint32 // producer index: written by us (publish), read by the consumer; the store publishes the slots before it
	peer   *atomic.Uint32 // consumer index: written by the consumer, read by us; its store gives the slots back
	flags  *atomic.Uint32 // written by the consumer: bit flagNeedWakeup asks for a wakeup; read by us after publishing
	slots  []T
	mask   uint32
	head   uint32 // next index to write; equals *shared after publish
	limit  uint32 // head may grow up to here: consumer index when last read + size
	bad    bool   // the consumer index was seen where it cannot be; the ring is then treated as full
}

// flagNeedWakeup is XDP_RING_NEED_WAKEUP of linux/if_xdp.h.
const flagNeedWakeup = 1

func newProducer[T any](shared, peer, flags *atomic.Uint32, slots []T) producer[T] {
	p := producer[T]{shared: shared, peer: peer, flags: flags, slots: slots, mask: uint32(len(slots)) - 1}
	p.head = shared.Load()
	p.limit = peer.Load() + uint32(len(slots))
	return p
}

// room returns how many slots may be written, at most want.
//
//fastlb:hot
func (p *producer[T]) room(want uint32) uint32 {
	n := p.limit - p.head
	if n < want {
		n = p.refresh()
	}
	return min(n, want)
}

// refresh reads the consumer's index again and returns the free slots.
func (p *producer[T]) refresh() uint32 {
	n := p.peer.Load() + uint32(len(p.slots)) - p.head
	if p.bad = n > uint32(len(p.slots)); p.bad {
		n = 0 // never write over slots that may be in use
	}
	p.limit = p.head + n
	return n
}

// slot is the i-th writable slot; i < room.
//
//fastlb:hot
func (p *producer[T]) slot(i uint32) *T { return &p.slots[(p.head+i)&p.mask] }

// put copies v, which room allowed, into the ring in at most two pieces. It is not visible before publish.
//
//fastlb:hot
func (p *producer[T]) put(v []T) {
	n := copy(p.slots[p.head&p.mask:], v)
	copy(p.slots, v[n:])
}

// publish hands the first n written slots over. One atomic store (on amd64 an XCHG) a batch.
//
//fastlb:hot
func (p *producer[T]) publish(n uint32) {
	p.head += n
	p.shared.Store(p.head)
}

// needsWakeup tells whether the consumer sleeps until it is woken. To be read after publish: the store there is
// sequentially consistent, so either the consumer sees the new slots or we see its flag.
//
//fastlb:hot
func (p *producer[T]) needsWakeup() bool { return p.flags.Load()&flagNeedWakeup != 0 }

// unread tells whether slots that were published wait for the consumer still.
//
//fastlb:hot
func (p *producer[T]) unread() bool { return p.peer.Load() != p.head }
