package director

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/fastlb/fastlb/perf"
)

// passQueueSize is the bytes of packets that may wait for the kernel's stack, a worker: a power of two, larger than any
// packet.
const passQueueSize = 1 << 20

// passQueue carries packets from one worker to the goroutine that writes them to the tun device, in order. It is a ring
// of bytes; each packet is its length in four bytes and then itself, in one piece. A length of passWrap says that the
// next one begins at the ring's start.
//
//	tail (reader)                  head (worker)
//	v                              v
//	| len | packet | len | packet  |  free …        | wrap |
//
// It implements worker.Passer; Pass neither blocks nor allocates.
type passQueue struct {
	head    atomic.Uint64 // bytes ever written; written by the worker, publishes the bytes before it
	_       [56]byte
	tail    atomic.Uint64 // bytes ever read; written by the reader, frees the bytes before it
	_       [56]byte
	dropped perf.Counter // by the worker
	_       [56]byte
	buf     []byte
	wake    func() // makes the reader look; must not block
}

const passWrap = ^uint32(0)

func newPassQueue(size int, wake func()) *passQueue {
	return &passQueue{buf: make([]byte, size), wake: wake}
}

// align keeps lengths at multiples of four, so that one never straddles the end.
func align(n int) uint64 { return (uint64(n) + 3) &^ 3 }

// Pass queues a packet, which begins with its IP header, for the kernel's stack; false: the queue is full.
func (q *passQueue) Pass(_ int, ip []byte, _ int) bool {
	head, tail := q.head.Load(), q.tail.Load()
	size := uint64(len(q.buf))
	need := 4 + align(len(ip))
	at := head & (size - 1)
	skip := uint64(0)
	if at+need > size {
		skip = size - at
	}
	if head+skip+need-tail > size {
		q.dropped.Add(1)
		return false
	}
	if skip > 0 {
		binary.NativeEndian.PutUint32(q.buf[at:], passWrap)
		at = 0
	}
	binary.NativeEndian.PutUint32(q.buf[at:], uint32(len(ip)))
	copy(q.buf[at+4:], ip)
	q.head.Store(head + skip + need)
	if q.tail.Load() == head { // the reader has drained all before this one and may be going to sleep
		q.wake()
	}
	return true
}

// next is the packet that has waited longest, nil if there is none. It is good until done.
func (q *passQueue) next() []byte {
	head, tail := q.head.Load(), q.tail.Load()
	if head == tail {
		return nil
	}
	size := uint64(len(q.buf))
	at := tail & (size - 1)
	n := binary.NativeEndian.Uint32(q.buf[at:])
	if n == passWrap {
		q.tail.Store(tail + size - at)
		at = 0
		n = binary.NativeEndian.Uint32(q.buf)
	}
	return q.buf[at+4 : at+4+uint64(n)]
}

// done frees the packet that next gave.
func (q *passQueue) done(packet []byte) { q.tail.Add(4 + align(len(packet))) }
