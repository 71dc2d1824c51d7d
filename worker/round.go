package worker

import (
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
)

// Round is one turn: a batch of every port is received, decided and sent; timers that are due run. It returns how many
// packets were handled. now must not go backwards.
//
//fastlb:hot
func (w *Worker) Round(now clock.Time) int {
	w.now = int64(now)
	w.flows.BeginRound(w.id)
	if s := w.shared.Load(); s != w.snap {
		w.adopt(s)
	}
	n := 0
	for port, p := range w.ports {
		w.lap(StageTransmit)
		p.Complete(w.frames)
		got := p.Receive(w.descs[:w.batch])
		switch {
		case got == 0:
		case w.chained(w.descs[:got]):
			n += w.receiveChains(port, w.descs[:got])
		default:
			w.receive(port, w.descs[:got])
			n += got
		}
	}
	if w.handover != nil {
		n += w.takeHandover()
	}
	if now >= w.Wake() {
		w.runTimers()
	}
	w.sweep()
	if len(w.loads.changed) > 0 {
		w.settle()
	}
	w.transmit()
	w.stats.Round(n)
	w.lap(StageTransmit)
	return n
}

// sweep looks at the part of the expiry array that the time since the last look calls for.
func (w *Worker) sweep() {
	share := int64(w.flows.Capacity()) / int64(w.flows.Workers())
	due := share
	if d := w.now - w.sweepAt; d < sweepCycle {
		due = share * d / sweepCycle
		if due < sweepChunk && due < share && !w.flows.TracksDeadlines() {
			return
		}
	}
	w.sweepAt = w.now
	if w.behind = due > sweepMost && !w.flows.TracksDeadlines(); w.behind {
		w.sweepAt -= (due - sweepMost) * sweepCycle / share // the rest is for the rounds that follow
		due = sweepMost
	}
	w.flows.Sweep(w.id, w.now, int(due), w.expireFn)
}

// adopt switches to a new snapshot and sends what was waiting for it.
func (w *Worker) adopt(s *Snapshot) {
	w.snap, w.targets = s, s.targets
	w.retryHolds()
}

// receive takes a batch of one port through parse, look-up and decision, in passes.
//
//fastlb:hot
func (w *Worker) receive(port int, d []ring.Desc) {
	ring.Prefetch(w.mem, d)
	w.lap(StageReceive)
	bytes := w.parse(d)
	w.stats.Received(port, len(d), bytes)
	w.lap(StageParse)
	// What is no transport packet is looked up too, by whatever its probe holds: nobody reads the answer.
	if w.snap.Services.Enabled {
		w.flows.LookupBatch(w.probes[:len(d)], w.snap.servers)
	} else {
		w.forget(len(d))
	}
	w.lap(StageLookup)
	for i := range d {
		p, pr := &w.parsed[i], &w.probes[i]
		if p.Kind != packet.Transport {
			w.other(port, d[i], p)
			continue
		}
		if pr.Ref == 0 || !w.established(pr, p, &d[i]) {
			w.unusual(port, d[i], p, &pr.Key)
		}
	}
	w.lap(StageRewrite)
}

// forget marks the first n probes as not found: with no service at all nothing is touched (spec/connections.md 1.1).
func (w *Worker) forget(n int) {
	for i := range w.probes[:n] {
		w.probes[i].Ref = 0
	}
}

// drop frees a frame and counts why.
func (w *Worker) drop(frame uint64, r perf.Reason) {
	w.stats.Drop(r, 1)
	w.frames.Put(frame)
}
