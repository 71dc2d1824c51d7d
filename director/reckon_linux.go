package director

import (
	"sync"
	"time"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/ring"
)

// reckonInterval is how often a worker takes stock of its frames.
const reckonInterval = clock.Time(50 * time.Millisecond)

// books are where a worker's frames were when it took stock last.
type books struct {
	due  clock.Time // the worker's own: when to take stock again
	lock sync.Mutex // held for a copy alone; the worker never waits for it
	last MemoryStatus
}

// reckon takes stock between two rounds, now and then: what it costs is not a packet's affair.
func (r *runner) reckon(now clock.Time) {
	if now >= r.books.due {
		r.books.due = now + reckonInterval
		r.takeStock()
	}
}

func (r *runner) takeStock() {
	var a ring.Account
	for _, s := range r.sockets {
		a.Add(s.Account())
	}
	m := MemoryStatus{
		Free: r.memory.Free(), Filled: a.Filled, InDriver: a.InDriver, Received: a.Received, Sending: a.Sending, Held: r.worker.Held(),
	}
	m.Missing = r.memory.Total - m.Free - a.Frames() - m.Held
	if !r.books.lock.TryLock() {
		r.books.due = 0 // somebody is reading: after the next round
		return
	}
	r.books.last = m
	r.books.lock.Unlock()
}

// memoryStatus is what the worker found last.
func (r *runner) memoryStatus() MemoryStatus {
	r.books.lock.Lock()
	m := r.books.last
	r.books.lock.Unlock()
	if p := r.memory.Parts; p != nil {
		m.Copied = p.Copied()
	}
	return m
}
