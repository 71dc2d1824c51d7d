package ring

import (
	"fmt"
	"math/bits"
	"sync/atomic"
)

// Sizes are the slots of a socket's rings, each a power of two. The zero value of a field means DefaultRingSize.
type Sizes struct{ Fill, Completion, RX, TX int }

// DefaultRingSize is the slots of a ring unless the configuration says otherwise.
const DefaultRingSize = 2048

func (s *Sizes) validate() error {
	for _, r := range []struct {
		name string
		n    *int
	}{{"fill", &s.Fill}, {"completion", &s.Completion}, {"rx", &s.RX}, {"tx", &s.TX}} {
		if *r.n == 0 {
			*r.n = DefaultRingSize
		}
		if *r.n < 0 || bits.OnesCount(uint(*r.n)) != 1 || *r.n > 1<<24 {
			return fmt.Errorf("%s ring of %d slots: choose a power of two", r.name, *r.n)
		}
	}
	return nil
}

// FramesFor is the number of frames that one socket needs so that its fill ring can be kept full whatever is being
// transmitted. A worker's UMEM has the sum over its sockets, and its batch on top.
func (s Sizes) FramesFor() int {
	if err := s.validate(); err != nil {
		panic("ring: " + err.Error())
	}
	return s.Fill + s.TX
}

// memoryRing is one ring in plain memory, its indexes on cache lines of their own as the kernel lays them out.
type memoryRing[T any] struct {
	producer atomic.Uint32
	_        [60]byte
	consumer atomic.Uint32
	_        [60]byte
	flags    atomic.Uint32
	_        [60]byte
	slots    []T
}

// Kernel is the other half of a socket on plain memory: what the kernel does to the rings, with no kernel. Cheap enough
// to measure the worker with (fastlb bench); ringtest makes it misbehave. It belongs to one goroutine, which may be
// another one than the Socket's.
type Kernel struct {
	fill       consumer[uint64]
	completion producer[uint64]
	rx         producer[Desc]
	tx         consumer[Desc]
	needFill   *atomic.Uint32 // flags words, written by this half
	needTX     *atomic.Uint32

	socket   *Socket
	withheld [4]*atomic.Uint32 // the real index words while Withhold is on

	OnWakeTX func() Wake // called by Socket.Kick in the worker's goroutine; nil: done
	OnWakeRX func() Wake
	NAPI     uint32 // the NAPI instance that packets come by
	Woken    bool   // the socket has taken its preference for busy polling back
}

// Wake is what a wakeup of a Kernel returns: 0 for done, else one of the errors that the real call knows.
type Wake uint8

const (
	WakeDone    = Wake(wakeDone)
	WakeAgain   = Wake(wakeAgain)
	WakeBusy    = Wake(wakeBusy)
	WakeNoBufs  = Wake(wakeNoBufs)
	WakeNetDown = Wake(wakeNetDown)
	WakeFailed  = Wake(wakeFailed)
)

// NewMemory makes a socket on plain memory and its kernel half. frames is the worker's; several sockets may share one,
// as live ones share a UMEM. The rings start empty, indexes at zero.
func NewMemory(frames *Frames, sizes Sizes) (*Socket, *Kernel, error) {
	return newMemoryAt(frames, sizes, 0)
}

// newMemoryAt starts all indexes at start: tests begin just before they wrap.
func newMemoryAt(frames *Frames, sizes Sizes, start uint32) (*Socket, *Kernel, error) {
	if err := sizes.validate(); err != nil {
		return nil, nil, fmt.Errorf("memory socket: %w", err)
	}
	fill, completion := newMemoryRing[uint64](sizes.Fill, start), newMemoryRing[uint64](sizes.Completion, start)
	rx, tx := newMemoryRing[Desc](sizes.RX, start), newMemoryRing[Desc](sizes.TX, start)
	k := &Kernel{
		fill:       newConsumer(&fill.consumer, &fill.producer, fill.slots),
		completion: newProducer(&completion.producer, &completion.consumer, &completion.flags, completion.slots),
		rx:         newProducer(&rx.producer, &rx.consumer, &rx.flags, rx.slots),
		tx:         newConsumer(&tx.consumer, &tx.producer, tx.slots),
		needFill:   &fill.flags,
		needTX:     &tx.flags,
	}
	s := &Socket{
		fill:       newProducer(&fill.producer, &fill.consumer, &fill.flags, fill.slots),
		completion: newConsumer(&completion.consumer, &completion.producer, completion.slots),
		rx:         newConsumer(&rx.consumer, &rx.producer, rx.slots),
		tx:         newProducer(&tx.producer, &tx.consumer, &tx.flags, tx.slots),
		frames:     frames,
		kernel:     k,
	}
	k.socket = s
	return s, k, nil
}

func newMemoryRing[T any](n int, start uint32) *memoryRing[T] {
	r := &memoryRing[T]{slots: make([]T, n)}
	r.producer.Store(start)
	r.consumer.Store(start)
	return r
}

// Give puts received packets on the RX ring and returns how many fitted. Their frames must have come from Drain.
func (k *Kernel) Give(d []Desc) int {
	n := k.rx.room(uint32(len(d)))
	if n > 0 {
		k.rx.put(d[:n])
		k.rx.publish(n)
	}
	return int(n)
}

// Take takes up to len(d) descriptors off the TX ring, in order; they are to be given back by Feed.
func (k *Kernel) Take(d []Desc) int {
	n := k.tx.ready(uint32(len(d)))
	if n > 0 {
		k.tx.take(d[:n])
		k.tx.release(n)
	}
	return int(n)
}

// Drain takes up to len(addr) frames off the fill ring.
func (k *Kernel) Drain(addr []uint64) int {
	n := k.fill.ready(uint32(len(addr)))
	if n > 0 {
		k.fill.take(addr[:n])
		k.fill.release(n)
	}
	return int(n)
}

// Feed puts transmitted frames on the completion ring and returns how many fitted.
func (k *Kernel) Feed(addr []uint64) int {
	n := k.completion.room(uint32(len(addr)))
	if n > 0 {
		k.completion.put(addr[:n])
		k.completion.publish(n)
	}
	return int(n)
}

// Withhold stops this half from showing how far it has come (on), or shows it (off): it goes on reading and writing slots
// while the socket sees stale indexes.
func (k *Kernel) Withhold(on bool) {
	for i, w := range []struct {
		shared **atomic.Uint32
		index  uint32
	}{{&k.fill.shared, k.fill.tail}, {&k.completion.shared, k.completion.head}, {&k.rx.shared, k.rx.head}, {&k.tx.shared, k.tx.tail}} {
		switch {
		case on && k.withheld[i] == nil:
			k.withheld[i], *w.shared = *w.shared, new(atomic.Uint32)
		case !on && k.withheld[i] != nil:
			*w.shared, k.withheld[i] = k.withheld[i], nil
			(*w.shared).Store(w.index)
		}
	}
}

// NeedWakeup sets or clears the flags by which the kernel asks to be woken for the TX and the fill ring.
func (k *Kernel) NeedWakeup(tx, fill bool) {
	set := func(w *atomic.Uint32, on bool) {
		if on {
			w.Store(flagNeedWakeup)
		} else {
			w.Store(0)
		}
	}
	set(k.needTX, tx)
	set(k.needFill, fill)
}

// Behave says what Open finds out about a real kernel: that the socket is in copy mode, and that busy polling is wanted and
// accepted (it begins with the first packet if NAPI is not 0). It belongs before the worker's first round; a socket begins
// as a zero-copy one with interrupts.
func (k *Kernel) Behave(copies, busyPoll bool) {
	k.socket.copies, k.socket.undecided = copies, busyPoll
}

func (k *Kernel) wakeTX() wakeResult {
	if k.OnWakeTX == nil {
		return wakeDone
	}
	return wakeResult(k.OnWakeTX())
}

func (k *Kernel) wakeRX() wakeResult {
	if k.OnWakeRX == nil {
		return wakeDone
	}
	return wakeResult(k.OnWakeRX())
}

func (k *Kernel) napi() uint32 { return k.NAPI }

func (k *Kernel) unprefer() { k.Woken = true }
