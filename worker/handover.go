package worker

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
)

// handoverSlots is how many fragments may wait for one worker.
const handoverSlots = 256

// Handover carries fragments between the workers of one director: RSS spreads fragments by address only, and not always
// alike, so each datagram has an owner among the workers by the hash of what identifies it.
type Handover struct {
	queues []handoverQueue
}

// handoverQueue is a bounded queue of many producers and one consumer (after D. Vyukov's bounded MPMC queue): a slot's turn
// says whose it is.
type handoverQueue struct {
	head  atomic.Uint64 // next to write; CAS by producers
	_     [56]byte
	tail  uint64 // next to read; the consumer's own
	_     [56]byte
	slots []handoverSlot
}

type handoverSlot struct {
	turn  atomic.Uint64 // position when free, position+1 when filled; published by whoever is done with the slot
	port  int
	iface int
	ip    []byte // grows to the longest fragment that came by here
}

// NewHandover makes the queues for a number of workers.
func NewHandover(workers int) *Handover {
	h := &Handover{queues: make([]handoverQueue, workers)}
	for i := range h.queues {
		q := &h.queues[i]
		q.slots = make([]handoverSlot, handoverSlots)
		for j := range q.slots {
			q.slots[j].turn.Store(uint64(j))
			q.slots[j].ip = make([]byte, 0, ring.MaxPacket)
		}
	}
	return h
}

// owner is the worker that reassembles the datagram.
func (h *Handover) owner(k *fragKey) int {
	x := (k.src.Hi ^ k.src.Lo ^ k.dst.Hi*3 ^ k.dst.Lo*3 ^ uint64(k.id)<<17) * 0x9e3779b97f4a7c15
	return int(x >> 32 % uint64(len(h.queues)))
}

// give copies a fragment to its owner's queue; false: the queue is full.
func (h *Handover) give(owner int, k *pkt) bool {
	q := &h.queues[owner]
	for {
		pos := q.head.Load()
		s := &q.slots[pos%handoverSlots]
		switch turn := s.turn.Load(); {
		case turn < pos:
			return false
		case turn == pos && q.head.CompareAndSwap(pos, pos+1):
			s.port, s.iface, s.ip = k.port, k.iface, append(s.ip[:0], k.ip()...)
			s.turn.Store(pos + 1)
			return true
		}
	}
}

// Pending tells whether fragments wait for a worker: an owner that blocks looks before it does.
func (h *Handover) Pending(worker int) bool {
	q := &h.queues[worker]
	return q.slots[q.tail%handoverSlots].turn.Load() == q.tail+1
}

// takeHandover reassembles what other workers handed over.
func (w *Worker) takeHandover() int {
	q := &w.handover.queues[w.id]
	n := 0
	for ; n < handoverSlots; n++ {
		s := &q.slots[q.tail%handoverSlots]
		if s.turn.Load() != q.tail+1 {
			break
		}
		w.takeFragment(s)
		s.turn.Store(q.tail + handoverSlots)
		q.tail++
	}
	return n
}

func (w *Worker) takeFragment(s *handoverSlot) {
	k := pkt{buf: s.ip, end: len(s.ip), frame: noFrame, port: s.port, iface: s.iface, frames: 1}
	var f piece
	if !f.parse(k.ip()) {
		w.dispose(&k, perf.BadIPHeader)
		return
	}
	packet.ParseIP(k.buf[:k.end], 0, &k.key, &k.p)
	w.reassemble(&k, &f)
}
