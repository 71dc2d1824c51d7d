package bench

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/worker"
)

// gate is where the lanes of a run wait for each other. Nobody sleeps: a lane that is alone passes at once.
type gate struct {
	_       [64]byte
	arrived atomic.Uint32 // lanes that wait; written by all
	_       [60]byte
	turn    atomic.Uint32 // how often the gate has opened; written by the lane that came last
	_       [60]byte
	over    atomic.Uint32 // the turn that some lane has finished; written by those that finish
	_       [60]byte
	stop    bool // written by the lane that came last, before turn
}

// wait waits for n lanes. The last to come calls last before the gate opens. It returns the number of the turn.
func (g *gate) wait(n int, last func()) uint32 {
	t := g.turn.Load()
	if int(g.arrived.Add(1)) == n {
		g.arrived.Store(0)
		last()
		g.turn.Store(t + 1)
		return t + 1
	}
	for spins := 1; g.turn.Load() == t; spins++ {
		if spins%(1<<16) == 0 { // the other is not running
			runtime.Gosched()
		}
	}
	return t + 1
}

// figure is what a run measured.
type figure struct {
	packets uint64
	ns      float64                // a packet and worker
	mpps    float64                // of all workers
	stages  [worker.Stages]float64 // ns a packet, when the run was with the stage clock on
}

// piece is what a stretch of pieceRounds rounds took.
type piece struct {
	ns, mpps float32
	stages   [worker.Stages]float32
}

// allocsOfRun is what a run allocates per worker for its goroutine, whatever the number of packets.
const allocsOfRun = 16

// run drives every lane for the duration. Time is taken by pieces: the lanes' RX rings are filled, all wait for each
// other, all work; as soon as one has done its rounds, all stop. So only such time counts in which all workers work,
// and no kernel's or network's part is in it. The result is the median of the pieces, so that whoever else uses the
// CPUs is left out.
func (s *site) run(d time.Duration, stages bool) figure {
	var wg sync.WaitGroup
	s.end, s.packets, s.pieces = 0, 0, s.pieces[:0]
	for i, l := range s.lanes {
		wg.Add(1)
		l.worker.SetProfile(nil)
		if l.timed = stages; stages {
			l.profile = worker.Profile{Clock: nanotime}
			l.worker.SetProfile(&l.profile)
		}
		go func() {
			defer wg.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer pin(s.cfg.cpus, i)()
			for l.step(d) {
			}
			l.drives.Idle()
		}()
	}
	wg.Wait()
	return s.figure()
}

// pin ties the thread to the i-th CPU of a list, or of those that the process may use, and returns how to untie it.
// Where that is forbidden the thread runs where it likes.
func pin(cpus numa.CPUs, i int) (undo func()) {
	old, err := numa.Allowed()
	if err != nil {
		return func() {}
	}
	if len(cpus) == 0 {
		cpus = old
	}
	if i >= len(cpus) || numa.Pin(cpus[i]) != nil {
		return func() {}
	}
	return func() { _ = numa.PinTo(old) }
}

// runBare is run with a bare forwarder in every worker's place, on the same rings and frames.
func (s *site) runBare(d time.Duration) figure {
	for _, l := range s.lanes {
		l.drives = &bare{port: l.port, frames: l.frames, batch: s.cfg.batch}
	}
	defer func() {
		for _, l := range s.lanes {
			l.drives = l.worker
		}
	}()
	return s.run(d, false)
}

// step does one piece; false: the run is over.
func (l *lane) step(d time.Duration) bool {
	s := l.site
	l.supply(pieceRounds)
	turn := s.gate.wait(len(s.lanes), func() { s.settle(d) })
	if s.gate.stop {
		return false
	}
	l.now = s.now
	if l.timed {
		l.profile.Spent, l.profile.Laps = [worker.Stages]int64{}, [worker.Stages]int64{}
		l.profile.Begin()
	}
	n, start := 0, nanotime()
	for k := 0; k < pieceRounds && s.gate.over.Load() != turn; k++ {
		n += l.round()
	}
	l.handled, l.spent = n, nanotime()-start
	s.gate.over.Store(turn)
	return true
}

// settle is done while all lanes wait. It books the piece that ended, and makes the workers' clocks, which went on by what
// each had done, one again. The duration begins when all lanes are there for the first time; it is prolonged up to
// tenfold, and a second, until they have once worked side by side.
func (s *site) settle(d time.Duration) {
	now := nanotime()
	if s.end == 0 {
		s.end, s.gate.stop = now+int64(d), false
	} else {
		s.book()
		s.gate.stop = now >= s.end && (len(s.pieces) > 0 || now >= s.end+int64(10*d+time.Second))
	}
	for _, l := range s.lanes {
		s.now = max(s.now, l.now)
	}
}

// book keeps a piece's figures, unless one lane had done most of its work before another began.
func (s *site) book() {
	least, most := s.lanes[0].handled, 0
	var p piece
	for _, l := range s.lanes {
		s.packets += uint64(l.handled)
		least, most = min(least, l.handled), max(most, l.handled)
		if l.handled > 0 && l.spent > 0 {
			p.ns += float32(l.spent) / float32(l.handled) / float32(len(s.lanes))
			p.mpps += 1e3 * float32(l.handled) / float32(l.spent)
			for st := range p.stages {
				net := max(l.profile.Spent[st]-l.profile.Laps[st]*s.reading, 0)
				p.stages[st] += float32(net) / float32(l.handled) / float32(len(s.lanes))
			}
		}
	}
	if p.ns > 0 && least*2 >= most && len(s.pieces) < cap(s.pieces) {
		s.pieces = append(s.pieces, p)
	}
}

// figure is the median of the pieces.
func (s *site) figure() figure {
	of := func(get func(*piece) float32) float64 {
		for i := range s.pieces {
			s.scratch[i] = get(&s.pieces[i])
		}
		return median(s.scratch[:len(s.pieces)])
	}
	f := figure{
		packets: s.packets,
		ns:      of(func(p *piece) float32 { return p.ns }),
		mpps:    of(func(p *piece) float32 { return p.mpps }),
	}
	for st := range f.stages {
		f.stages[st] = of(func(p *piece) float32 { return p.stages[st] })
	}
	return f
}

// clockReading is what reading nanotime takes, in ns.
func clockReading() int64 {
	var took [1001]float32
	last := nanotime()
	for i := range took {
		now := nanotime()
		took[i], last = float32(now-last), now
	}
	return int64(median(took[:]))
}

var epoch = time.Now()

// nanotime is the monotonic clock.
func nanotime() int64 { return int64(time.Since(epoch)) }
