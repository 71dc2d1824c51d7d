package director

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/worker"
)

// runner is a worker with its thread: it calls Round, and decides when to sleep.
type runner struct {
	seat    seat
	worker  *worker.Worker
	pace    pace
	hand    *worker.Handover // nil: a single worker
	memory  *ring.UMEMs
	books   books
	ports   []worker.Port  // by NIC
	sockets []*ring.Socket // in the order of NICs and their queues
	poller  *ring.Poller
	others  []*runner
	now     func() clock.Time

	stopping atomic.Bool
	started  chan error // nil when the thread is pinned
	stopped  chan struct{}
}

func (r *runner) start() error {
	r.started, r.stopped = make(chan error, 1), make(chan struct{})
	go r.run()
	return <-r.started
}

// stop ends the loop at the end of a round and waits for it.
func (r *runner) stop() {
	r.stopping.Store(true)
	r.wakeUp()
	<-r.stopped
}

// wakeUp ends the worker's sleep, so that it takes in a new snapshot at once.
func (r *runner) wakeUp() {
	if r.pace.mode != pollBusy {
		_ = r.poller.Wake() // its failure costs a tenth of a second
	}
}

// run is the thread. It stays locked, so that the thread with its pinning ends with it.
func (r *runner) run() {
	runtime.LockOSThread()
	defer close(r.stopped)
	err := numa.Prefer(r.seat.node)
	if err == nil && r.seat.cpu >= 0 {
		err = numa.Pin(r.seat.cpu)
	}
	r.started <- err
	if err == nil {
		r.loop()
	}
	r.worker.Idle()
}

// loop runs rounds. The clock is read once a round: its end is the next one's start.
func (r *runner) loop() {
	stats := r.worker.Stats()
	now := r.now()
	r.pace.begin(now)
	handed := stats.Handed.Load()
	barren := 0
	for !r.stopping.Load() {
		n := r.worker.Round(now)
		r.reckon(now)
		if h := stats.Handed.Load(); h != handed {
			handed = h
			for _, o := range r.others {
				o.wakeUp()
			}
		}
		start := now
		now = r.now()
		if n > 0 {
			stats.BusyTime.Add(uint64(now - start))
			r.pace.worked(start, now)
			barren = 0
			continue
		}
		if r.pace.sleeps(now) && (r.hand == nil || !r.hand.Pending(r.seat.id)) {
			barren = r.sleep(now, barren)
			now = r.now()
		}
		stats.IdleTime.Add(uint64(now - start))
	}
}

// sleep waits for packets or the next timer. barren counts waits in a row that ended at once and brought nothing: a
// socket whose interface is gone is always ready, and must not spin.
func (r *runner) sleep(now clock.Time, barren int) int {
	r.worker.Idle()
	unsent := slices.ContainsFunc(r.sockets, (*ring.Socket).Unsent)
	r.worker.Stats().Sleeps.Add(1)
	ready, err := r.poller.Wait(r.pace.timeout(now, r.worker.Wake(), unsent))
	if err != nil || ready > 0 && barren >= restAfter {
		time.Sleep(restTime)
	}
	if ready > 0 {
		return barren + 1
	}
	return 0
}

// multiPort is a worker's queues of one NIC as one port: packets come from all of them and leave by the first.
type multiPort struct {
	sockets []*ring.Socket
	next    int
}

var (
	_ worker.Port = (*multiPort)(nil)
	_ worker.Port = (*ring.Socket)(nil)
)

// newPort is a socket itself, or several as one.
func newPort(sockets []*ring.Socket) worker.Port {
	if len(sockets) == 1 {
		return sockets[0]
	}
	return &multiPort{sockets: sockets}
}

// Receive begins with another queue every time, so that none starves the others.
func (m *multiPort) Receive(d []ring.Desc) int {
	n := 0
	least := 1 // room that the next queue's packet may need
	if m.sockets[0].Segments() {
		least = ring.MaxChain
	}
	for range m.sockets {
		if len(d)-n < least {
			break
		}
		n += m.sockets[m.next].Receive(d[n:])
		if m.next++; m.next == len(m.sockets) {
			m.next = 0
		}
	}
	return n
}

func (m *multiPort) Transmit(d []ring.Desc) int { return m.sockets[0].Transmit(d) }

func (m *multiPort) Complete(f *ring.Frames) int {
	n := 0
	for _, s := range m.sockets {
		n += s.Complete(f)
	}
	return n
}

func (m *multiPort) Refill(f *ring.Frames) int {
	n := 0
	for _, s := range m.sockets {
		n += s.Refill(f)
	}
	return n
}

func (m *multiPort) Kick() {
	for _, s := range m.sockets {
		s.Kick()
	}
}

// live is the dataplane's clock: the wall clock at start, and monotonic from there.
func live() func() clock.Time {
	start := time.Now()
	zero := clock.Time(start.UnixNano())
	return func() clock.Time { return zero + clock.Time(time.Since(start)) }
}
