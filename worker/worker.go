package worker

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

// MaxBatch bounds the packets of one port in one round.
const MaxBatch = 256

// The workers together look at the whole expiry array once in sweepCycle: a connection outlives its time by no more than
// that. A worker takes its share when sweepChunk entries have come due, and at most sweepMost in one round, so that a
// worker that slept catches up without holding packets up.
const (
	sweepCycle = int64(clock.Second)
	sweepChunk = 256
	sweepMost  = 16384
)

// Config is what a worker is made of. Everything is shared by reference with whoever made it; the worker itself has one
// owner goroutine.
type Config struct {
	ID        int
	Batch     int // packets a round and port, 1 to MaxBatch; 0: 64
	Frames    *ring.Frames
	Ports     []Port
	Flows     *flow.Table
	Slots     *service.Slots
	Counters  *service.Counters
	Snapshots *atomic.Pointer[Snapshot]
	Pass      Passer
	Ask       Asker
	Handover  *Handover // between the workers of one director; nil when there is only one
	Defence   *Defence  // drop_packet's count, shared by the workers of one director; nil: this worker's own
	Paths     *Paths    // path MTUs, shared by the workers of one director; nil: this worker's own
	Segments  []int     // by port: frames of the longest packet that it carries (XDP_USE_SG); nil: one
	Seed      uint64    // for IPv4 identifications of what the director itself sends
	LimitICMP bool      // rate-limit ICMP errors as the kernel does; off in replay
}

// Worker is one pinned loop. Its fields are touched by its owner alone; what others read is in Stats and Counters.
type Worker struct {
	id       int
	batch    int
	mem      []byte // the UMEM
	frames   *ring.Frames
	ports    []Port
	flows    *flow.Table
	slots    *service.Slots
	counters *service.Counters
	shared   *atomic.Pointer[Snapshot]
	snap     *Snapshot
	targets  []target              // the snapshot's
	lines    []service.CounterLine // this worker's counters, by server slot
	now      int64                 // clock.Time of this round
	stats    perf.Worker

	descs  [MaxBatch]ring.Desc
	probes [MaxBatch]flow.Probe
	parsed [MaxBatch]packet.Parsed
	out    []outbox // by port
	chains chains

	pass     Passer
	ask      Asker
	handover *Handover
	reasm    reassembler
	holds    holdQueue
	limiter  icmpLimiter
	paths    *Paths
	defence  *Defence
	ipID     uint64
	expireFn func(flow.Ref) int64
	sweepAt  int64 // clock.Time up to which the sweep has been paid
	pending  bool  // a connection has been inserted that its replies do not find yet
	behind   bool  // the sweep has not looked at all that was its due
	profile  *Profile
	request  service.Request
	loads    loads
}

// outbox gathers the frames for one port until the end of the round.
type outbox struct {
	n int
	d [MaxBatch]ring.Desc
}

// New checks the configuration and makes a worker. A snapshot must have been published before.
func New(cfg Config) (*Worker, error) {
	if cfg.Batch == 0 {
		cfg.Batch = 64
	}
	switch {
	case cfg.Batch < 1 || cfg.Batch > MaxBatch:
		return nil, fmt.Errorf("worker %d: batch %d is not in 1 to %d", cfg.ID, cfg.Batch, MaxBatch)
	case cfg.Frames == nil || cfg.Flows == nil || cfg.Slots == nil || cfg.Counters == nil || cfg.Snapshots == nil:
		return nil, errors.New("worker: incomplete configuration")
	case cfg.Snapshots.Load() == nil:
		return nil, errors.New("worker: no snapshot has been published")
	}
	w := &Worker{
		id: cfg.ID, batch: cfg.Batch, mem: cfg.Frames.Mem, frames: cfg.Frames, ports: cfg.Ports, flows: cfg.Flows,
		slots: cfg.Slots, counters: cfg.Counters, shared: cfg.Snapshots, snap: cfg.Snapshots.Load(), pass: cfg.Pass, ask: cfg.Ask,
		handover: cfg.Handover, ipID: cfg.Seed,
	}
	w.limiter.enabled = cfg.LimitICMP
	if w.defence = cfg.Defence; w.defence == nil {
		w.defence = new(Defence)
	}
	if w.paths = cfg.Paths; w.paths == nil {
		w.paths = new(Paths)
	}
	w.targets, w.lines = w.snap.targets, w.counters.Lines(w.id)
	w.out = make([]outbox, len(cfg.Ports))
	if w.chains.init(cfg.Segments, len(cfg.Ports)); w.chains.scratch != nil {
		w.batch = max(w.batch, ring.MaxChain)
	}
	w.expireFn = w.expire
	w.loads = newLoads(cfg.Slots.Capacity())
	w.stats.Init(len(cfg.Ports))
	for _, p := range w.ports {
		p.Refill(w.frames)
	}
	return w, nil
}

// Stats are the worker's counters; anybody may read them at any time.
func (w *Worker) Stats() *perf.Worker { return &w.stats }

// Idle tells the table that this worker holds nothing and will not look at anything until its next round. Called before
// the owner blocks.
func (w *Worker) Idle() { w.flows.GoIdle(w.id) }

// Wake is the time of the next thing the worker has to do without a packet, for an owner that blocks or steps:
// reassembly and neighbour timers, and a sweep that is behind. Expiry of connections is the table's NextDeadline.
func (w *Worker) Wake() clock.Time {
	if w.behind {
		return clock.Time(w.now)
	}
	return min(w.reasm.next(), w.holds.next())
}
