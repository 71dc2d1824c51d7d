package director

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/safchain/ethtool"
	"go.uber.org/zap"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/neigh/follow"
	"github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/tune"
	"github.com/fastlb/fastlb/worker"
	"github.com/fastlb/fastlb/xdp"
)

// Director is a running director. Its exported methods may be called by any goroutine.
type Director struct {
	opt      Options
	log      *zap.Logger
	now      func() clock.Time
	started  time.Time
	commands chan func()
	netNews  chan struct{} // the network changed
	done     chan struct{} // closed when the loop ends
	stopOnce sync.Once
	stopErr  error
	undo     []func() error // what Stop does, last first

	net      *follow.Follower
	tool     *ethtool.Ethtool
	programs *xdp.Programs
	nics     []*attached
	layout   layout // of the nics
	segments bool   // packets may lie in several frames, where the driver lets them
	state    *state
	machine  machine
	drivers  *tune.Drivers
	plan     plan
	keeper   *tune.Keeper // of settings that are to be put back; nil: they cannot be written down
	counters *service.Counters
	tun      *tun
	runners  []*runner
	shared   atomic.Pointer[worker.Snapshot]

	// The rest belongs to the loop.
	cfg      *config.Config
	control  *control.Control
	kept     []neigh.HopID
	warnings map[string]string // by subject: what is wrong with the site just now
	store    *store            // nil: services are not kept
	load     []loadMeter       // by worker
}

// New starts a director: it reads the network, attaches the interfaces, opens the sockets, adopts what an earlier director
// left, and runs the workers. On failure everything is as it was before.
func New(opt Options) (_ *Director, err error) {
	if opt.Log == nil {
		opt.Log = zap.NewNop()
	}
	d := &Director{
		opt: opt, log: opt.Log, cfg: opt.Config, now: live(), started: time.Now(), warnings: map[string]string{},
		commands: make(chan func()), netNews: make(chan struct{}, 1), done: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.unwind())
		}
	}()
	for _, stage := range []func() error{d.followNetwork, d.attachInterfaces, d.openTable, d.tuneQueues, d.openTun, d.makeWorkers, d.restore, d.runWorkers} {
		if err := stage(); err != nil {
			return nil, err
		}
	}
	go d.loop()
	return d, nil
}

// later notes what is to be undone, in reverse order, when the director stops or does not start.
func (d *Director) later(f func() error) { d.undo = append(d.undo, f) }

func (d *Director) unwind() error {
	var errs []error
	for _, f := range slices.Backward(d.undo) {
		errs = append(errs, f())
	}
	d.undo = nil
	return errors.Join(errs...)
}

// followNetwork is the first stage.
func (d *Director) followNetwork() (err error) {
	d.net, err = follow.Start(follow.Options{
		Neighbors: neighbors(d.cfg),
		Changed: func(*neigh.Snapshot) {
			select {
			case d.netNews <- struct{}{}:
			default:
			}
		},
		Fault: func(err error) { d.log.Warn("network", zap.Error(err)) },
	})
	if err != nil {
		return err
	}
	d.later(d.net.Close)
	return nil
}

func neighbors(cfg *config.Config) map[netip.Addr][6]byte {
	m := make(map[netip.Addr][6]byte, len(cfg.Neighbors))
	for _, n := range cfg.Neighbors {
		m[n.Addr] = n.MAC
	}
	return m
}

// openTable maps the connection table.
func (d *Director) openTable() error {
	huge, err := hugeFlows(d.cfg.Workers.Hugepages)
	if err != nil {
		return err
	}
	home, err := d.spreadTable()
	if err != nil {
		return err
	}
	defer home()
	seed := [2]uint64{rand.Uint64(), rand.Uint64()}
	s, warning, err := openState(d.cfg.Flows.State, d.cfg.Flows.Capacity, len(d.runners), seed, huge)
	if err != nil {
		return err
	}
	d.state = s
	d.later(s.memory.Close)
	if warning != "" {
		d.log.Warn("state", zap.String("warning", warning))
	}
	d.counters = service.NewCounters(len(d.runners), s.slots.Capacity())
	return nil
}

func (d *Director) openTun() (err error) {
	four, six := d.forwards()
	if d.tun, err = openTun(len(d.runners), four, six); err != nil {
		return err
	}
	d.later(d.tun.close)
	return nil
}

// makeWorkers builds the workers over their sockets. The snapshot that they begin with has no services.
func (d *Director) makeWorkers() error {
	d.control = control.New(control.Options{
		Slots: d.state.slots, Counters: d.counters, Flows: d.state.flows, Rand: rand.Uint64, Memory: availablePages, Link: d.link, Defer: true,
	})
	d.publishSnapshot()
	paths, defence := new(worker.Paths), new(worker.Defence)
	var hand *worker.Handover
	if len(d.runners) > 1 {
		hand = worker.NewHandover(len(d.runners))
	}
	for i, r := range d.runners {
		w, err := worker.New(worker.Config{
			ID: i, Batch: d.cfg.Workers.Batch, Frames: r.memory.Frames(), Ports: r.ports, Flows: d.state.flows, Slots: d.state.slots,
			Counters: d.counters, Snapshots: &d.shared, Pass: d.tun.queues[i], Ask: d.net, Handover: hand, Paths: paths, Defence: defence, Seed: rand.Uint64(), LimitICMP: true,
			Segments: d.segmentsByPort(),
		})
		if err != nil {
			return err
		}
		r.worker, r.hand, r.now = w, hand, d.now
		for _, o := range d.runners {
			if o != r {
				r.others = append(r.others, o)
			}
		}
	}
	d.load = make([]loadMeter, len(d.runners))
	return nil
}

// runWorkers starts the threads and lets the interfaces' packets come.
func (d *Director) runWorkers() error {
	// A worker that Go's scheduler interrupts, as it does every 10 ms, must find a P that nobody else wants.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), runtime.NumCPU()+len(d.runners)))
	d.later(func() error {
		for _, r := range d.runners {
			if r.stopped != nil {
				r.stop()
			}
		}
		return nil
	})
	d.publishSnapshot() // the table stands: packets wait in the sockets already
	for _, r := range d.runners {
		if err := r.start(); err != nil {
			return fmt.Errorf("worker %d: %w", r.seat.id, err)
		}
	}
	for _, n := range d.nics {
		if !n.detachLate() {
			d.later(n.detach)
		}
	}
	d.publish()
	return nil
}

// loop is the director's goroutine: the only one that changes anything.
func (d *Director) loop() {
	defer close(d.done)
	tick := time.NewTicker(time.Duration(control.Period))
	defer tick.Stop()
	for {
		select {
		case f := <-d.commands:
			if f == nil {
				return
			}
			f()
		case <-d.netNews:
			d.publish()
			d.watchInterfaces()
			d.watchMTUs()
		case <-tick.C:
			if d.control.Tick(d.now()) {
				d.publish()
			}
			d.measure()
			d.watchQueues()
			d.followBusyPoll()
		case <-d.store.due():
			d.saveLate()
		}
	}
}

// do runs f in the loop.
func (d *Director) do(f func() error) error {
	result := make(chan error, 1)
	select {
	case d.commands <- func() { result <- f() }:
		return <-result
	case <-d.done:
		return errStopped
	}
}

var errStopped = errors.New("the director is stopping")

// Stop ends the director: the interfaces are detached first, the workers finish their round, and everything is as it was
// before the start. The table's file stays for the next one.
func (d *Director) Stop() error {
	d.stopOnce.Do(func() {
		select {
		case d.commands <- nil:
		case <-d.done:
		}
		<-d.done
		if d.store != nil {
			d.stopErr = errors.Join(d.store.write(d.cfg, d.control.Export()), d.store.sync())
		}
		d.stopErr = errors.Join(d.stopErr, d.unwind())
	})
	return d.stopErr
}

// publishSnapshot gives the workers the present state.
func (d *Director) publishSnapshot() *worker.Snapshot {
	net := d.net.Snapshot()
	p := d.control.Publish(net)
	portOf := make([]int16, len(net.Interfaces))
	for i := range portOf {
		portOf[i] = -1
		for port, n := range d.nics {
			if net.Interfaces[i].Index == n.index && !net.Interfaces[i].Gone {
				portOf[i] = int16(port)
			}
		}
	}
	s := worker.NewSnapshot(p.Services, net, p.Timeouts, p.Tunables, portOf, d.shared.Load())
	d.shared.Store(s)
	d.control.Settle()
	for _, r := range d.runners {
		if r.worker != nil {
			r.wakeUp()
		}
	}
	return s
}

// publish brings the state to everybody: workers first, so that nothing is taken from the wire that they do not know yet.
func (d *Director) publish() {
	s := d.publishSnapshot()
	changes, err := d.programs.Update(xdp.FromSnapshot(s.Services))
	d.warn("steering", err)
	if changes.Any() {
		d.log.Debug("steering", zap.Int("added", changes.Added), zap.Int("changed", changes.Changed), zap.Int("removed", changes.Removed))
	}
	for _, n := range d.nics {
		d.warn("accept MACs on "+n.name, n.setMACs(s.Net))
	}
	d.keepServers(s)
}

// keepServers has the next hops of the real servers resolved and kept so.
func (d *Director) keepServers(s *worker.Snapshot) {
	hops := map[neigh.HopID]bool{}
	for i := range s.Services.Targets {
		t := &s.Services.Targets[i]
		d.warnLocal(t)
		if t.Kind != service.TargetUnicast || !t.Available {
			continue
		}
		if t.Hop != 0 {
			hops[neigh.HopID(t.Hop)] = true
		} else if r := s.Net.Route(t.Addr); r.Kind == neigh.Unicast {
			d.net.Ask(r.Interface, r.Next)
		}
	}
	list := slices.Sorted(maps.Keys(hops))
	if !slices.Equal(list, d.kept) {
		d.kept = list
		d.net.Keep(list)
	}
}

// warnLocal tells of NAT to the director itself: the server's answers are the kernel's own packets and leave untranslated.
func (d *Director) warnLocal(t *service.Target) {
	if t.Method != service.NAT || !t.Available && t.Addr.IsZero() {
		return
	}
	var err error
	if t.Available && t.Kind == service.TargetLocal {
		err = errors.New("it is an address of the director itself, to which NAT is not supported: its answers leave untranslated; use DR with the service's address and port")
	}
	d.warn("real server "+t.Addr.String(), err)
}

// warn notes or clears what is wrong with a subject; a change is logged once.
func (d *Director) warn(subject string, err error) {
	switch was := d.warnings[subject]; {
	case err == nil && was != "":
		delete(d.warnings, subject)
		d.log.Info("mended", zap.String("what", subject))
	case err != nil && was != err.Error():
		d.warnings[subject] = err.Error()
		d.log.Error(subject, zap.Error(err))
	}
}

// link answers control's question about a sync daemon's interface.
func (d *Director) link(name string) (mtu uint32, up, ok bool) {
	s := d.net.Snapshot()
	i, ok := s.InterfaceByName(name)
	if !ok {
		return 0, false, false
	}
	return s.Interfaces[i].MTU, s.Interfaces[i].Up, true
}
