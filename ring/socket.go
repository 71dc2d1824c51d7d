package ring

import "sync/atomic"

// Socket is one AF_XDP socket, or its twin on plain memory: four rings over the frames of one worker. It implements
// worker.Port. All methods but Counters and Statistics belong to the worker's goroutine.
type Socket struct {
	fill       producer[uint64] // frame addresses, to the kernel for receiving into
	completion consumer[uint64] // frame addresses whose transmission ended
	rx         consumer[Desc]
	tx         producer[Desc]

	frames      *Frames
	kernel      waker
	outstanding uint32 // transmitted and not yet completed
	copies      bool   // copy mode: the kernel sends inside of wakeTX and nowhere else
	undecided   bool   // busy polling is wanted, and whether there is something to poll shows with the first packet
	busyPoll    bool   // the NIC's queue is polled by our system calls
	preferred   bool   // … and the kernel ignores need_wakeup meanwhile: to be watched
	stuck       uint32 // kicks since the kernel last took something off the TX ring though there was something
	seen        uint32 // its index then
	chains      bool   // packets may lie in several frames
	skip        bool   // the packet that is on its way is too long: its frames are freed as they come
	counters    Counters

	*kernelSocket // the file descriptor and mappings; nil on plain memory
}

// waker is the kernel's ear: the system calls of a live socket, or Kernel on plain memory.
type waker interface {
	wakeTX() wakeResult // sendto: please look at the TX ring
	wakeRX() wakeResult // recvfrom: please look at the fill ring
	unprefer()          // SO_PREFER_BUSY_POLL off: wakeups of busy-polled queues are to work again
	napi() uint32       // SO_INCOMING_NAPI_ID: what polls the queue, 0: nothing that could be called
}

// wakeResult is how a wakeup went. All but wakeFailed are normal (design §2): the kernel was busy or short of memory, and
// the next round tries again.
type wakeResult uint8

const (
	wakeDone    wakeResult = iota
	wakeAgain              // EAGAIN: more remains than one call sends
	wakeBusy               // EBUSY: the driver is at it
	wakeNoBufs             // ENOBUFS: the peer or the qdisc is full
	wakeNetDown            // ENETDOWN, ENXIO: the interface is down
	wakeFailed             // anything else
)

// Counters of one socket. Single writer, the worker (load+store); any goroutine may read them.
type Counters struct {
	TXWakeups   atomic.Uint64 // sendto calls
	RXWakeups   atomic.Uint64 // recvfrom calls
	Again       atomic.Uint64 // wakeups that returned EAGAIN
	Busy        atomic.Uint64 // … EBUSY
	NoBufs      atomic.Uint64 // … ENOBUFS
	NetDown     atomic.Uint64 // … ENETDOWN or ENXIO
	WakeFailed  atomic.Uint64 // … any other error
	TXFull      atomic.Uint64 // descriptors that did not fit into the TX ring
	FillStarved atomic.Uint64 // refills that left room in the fill ring for want of free frames
	NAPI        atomic.Int64  // no count: the NAPI instance that is busy-polled; 0: not asked for, or not known yet; NoNAPI
	BadIndex    atomic.Uint64 // a ring index of the other side was seen where it cannot be
	LongChains  atomic.Uint64 // packets of more than MaxChain frames, which were freed
}

// NoNAPI says that there is nothing to busy-poll.
const NoNAPI = -1

func (s *Socket) count(c *atomic.Uint64, n uint64) { c.Store(c.Load() + n) }

// Receive takes up to len(d) packets from the RX ring. Their frames are the caller's from now on. A packet of several
// frames is given whole or not yet, so with KeepChains d has room for MaxChain at least.
//
//fastlb:hot
func (s *Socket) Receive(d []Desc) int {
	n := s.rx.ready(uint32(len(d)))
	if n == 0 {
		return 0
	}
	if s.undecided {
		s.decide()
	}
	s.rx.take(d[:n])
	if s.chains {
		return s.receiveWhole(d, n)
	}
	s.rx.release(n)
	s.frames.audit.moveDescs(d[:n], ownerKernelRX, ownerWorker)
	return int(n)
}

// Transmit puts descriptors on the TX ring and returns how many it took, counting from the front: their frames are the
// socket's until Complete gives them back; the rest stay the caller's. The kernel is not woken before Kick. At most as many
// frames as the TX ring has slots are outstanding, wherever in the kernel they are: a stuck interface cannot take the
// frames of the others' fill rings. With KeepChains a packet of several frames is taken whole or not.
//
//fastlb:hot
func (s *Socket) Transmit(d []Desc) int {
	n := s.tx.room(min(uint32(len(d)), uint32(len(s.tx.slots))-s.outstanding))
	if int(n) < len(d) {
		if s.chains {
			n = wholeOf(d, n)
		}
		s.count(&s.counters.TXFull, uint64(len(d)-int(n)))
	}
	if n == 0 {
		return 0
	}
	s.frames.audit.moveDescs(d[:n], ownerWorker, ownerKernelTX)
	s.tx.put(d[:n])
	s.tx.publish(n)
	s.outstanding += n
	return int(n)
}

// Complete gives every frame whose transmission ended back to f, and returns their number.
//
//fastlb:hot
func (s *Socket) Complete(f *Frames) int {
	n := s.completion.ready(min(s.outstanding, uint32(len(s.completion.slots))))
	if n == 0 {
		return 0
	}
	for i := range n {
		addr := *s.completion.slot(i)
		f.audit.move(addr, ownerKernelTX, ownerWorker)
		f.Put(addr)
	}
	s.completion.release(n)
	s.outstanding -= n
	return int(n)
}

// Refill fills the fill ring up with free frames of f, and returns how many it took. It belongs to every round, also on
// interfaces that only transmit: drivers stall for good on an empty fill ring.
//
//fastlb:hot
func (s *Socket) Refill(f *Frames) int {
	want := s.fill.room(uint32(len(s.fill.slots)))
	n := min(want, uint32(f.Len()))
	if n < want {
		s.count(&s.counters.FillStarved, 1)
	}
	if n == 0 {
		return 0
	}
	for i := range n {
		addr, _ := f.Get()
		f.audit.move(addr, ownerWorker, ownerKernelRX)
		*s.fill.slot(i) = addr
	}
	s.fill.publish(n)
	return int(n)
}

// Outstanding is the number of frames given to Transmit that Complete has not given back yet.
func (s *Socket) Outstanding() int { return int(s.outstanding) }

// Counters returns the socket's counters; any goroutine may load them.
func (s *Socket) Counters() *Counters { return &s.counters }
