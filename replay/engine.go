package replay

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/worker"
)

// MaxWorkers bounds Options.Workers.
const MaxWorkers = 128

// DefaultCapacity is the connections that a replay holds unless told otherwise.
const DefaultCapacity = 1 << 20

const (
	// framesPerWorker is a worker's UMEM. A frame comes back as soon as it is sent; what stays out are packets that
	// wait for a neighbour, and for a moment the pieces of the largest datagram on the smallest MTU, 1366 of them.
	framesPerWorker = 2048
	// DefaultServers is Options.Servers unless it is given.
	DefaultServers = 1 << 16
)

// hashSeed is the connection table's: fixed, so that its order is the same in every run.
var hashSeed = [2]uint64{0x6661_7374_6c62_0001, 0x7265_706c_6179_0002}

// Options is what an engine is made of.
type Options struct {
	Network  neigh.StaticConfig
	Capacity uint32       // connections; 0: DefaultCapacity
	Workers  int          // 0: 1
	Start    clock.Time   // when the clock begins
	Sent     func(Frame)  // called for every frame sent, in order; may be nil
	Passed   func(Passed) // called for every packet that a worker left to the kernel; may be nil
	Servers  int          // real servers at most, removed ones that have connections included; 0: DefaultServers

	frames int // of each worker's UMEM; 0: framesPerWorker
}

// Frame is a frame that the director sent.
type Frame struct {
	Block     int        // its interface's place among Options.Network.Interfaces
	Interface string     // that interface's name
	At        clock.Time // of the packet or timer that caused it
	Data      []byte     // valid during the call
}

// Passed is a packet that the dataplane left to the kernel.
type Passed struct {
	Packet []byte // from the IP header on; valid during the call
	Frames int    // received frames that it stands for
}

// Engine is a director without a network of its own: workers, tables and control path, driven by calls. It is not safe
// for concurrent use.
type Engine struct {
	o        Options
	net      *network
	control  *control.Control
	flows    *flow.Table
	slots    *service.Slots
	counters *service.Counters
	snapshot atomic.Pointer[worker.Snapshot]
	handover *worker.Handover
	paths    worker.Paths
	defence  worker.Defence
	lanes    []*lane

	now   clock.Time // the dataplane's clock; never goes back
	stamp clock.Time // time of what is being handled
	tick  clock.Time // of the next turn of the control path
	quiet int        // turns since something else happened

	received, sent uint64
	reasons        [perf.Reasons]uint64 // counted before a worker saw the frame
}

// lane is one worker with what is its alone.
type lane struct {
	*worker.Worker
	frames *ring.Frames
	ports  []*port
}

// New makes an engine without services.
func New(o Options) (*Engine, error) {
	if o.Capacity == 0 {
		o.Capacity = DefaultCapacity
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Servers == 0 {
		o.Servers = DefaultServers
	}
	if o.frames == 0 {
		o.frames = framesPerWorker
	}
	if o.Workers < 0 || o.Workers > MaxWorkers {
		return nil, fmt.Errorf("%d workers: choose 1 to %d", o.Workers, MaxWorkers)
	}
	e := &Engine{o: o, now: o.Start, stamp: o.Start, tick: o.Start + control.Period}
	var err error
	if e.net, err = newNetwork(o.Network); err != nil {
		return nil, err
	}
	if e.flows, err = flow.New(make([]byte, flow.Size(o.Capacity)), flow.Config{Capacity: o.Capacity, Seed: hashSeed, Workers: o.Workers}); err != nil {
		return nil, err
	}
	e.flows.TrackDeadlines()
	e.slots = service.HeapSlots(o.Servers)
	e.counters = service.NewCounters(o.Workers, o.Servers)
	e.control = control.New(control.Options{Slots: e.slots, Counters: e.counters, Flows: e.flows})
	if o.Workers > 1 {
		e.handover = worker.NewHandover(o.Workers)
	}
	e.publish()
	for id := range o.Workers {
		if err := e.addWorker(id); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// addWorker makes worker number id, with a port for every NIC.
func (e *Engine) addWorker(id int) error {
	l := &lane{frames: ring.NewFrames(make([]byte, e.o.frames*ring.FrameSize))}
	ports := make([]worker.Port, len(e.net.ports))
	for i := range ports {
		p := &port{frames: l.frames, number: i, sent: e.transmitted}
		l.ports = append(l.ports, p)
		ports[i] = p
	}
	var err error
	l.Worker, err = worker.New(worker.Config{
		ID: id, Batch: 1, Frames: l.frames, Ports: ports, Flows: e.flows, Slots: e.slots, Counters: e.counters,
		Snapshots: &e.snapshot, Pass: passer{e}, Handover: e.handover, Paths: &e.paths, Defence: &e.defence, Seed: uint64(id),
		Segments: slices.Repeat([]int{ring.MaxSegments}, len(ports)),
	})
	if err != nil {
		return err
	}
	e.lanes = append(e.lanes, l)
	return nil
}

// publish gives the workers what the control path and the network say now.
func (e *Engine) publish() {
	net := e.net.static.Snapshot()
	p := e.control.Publish(net)
	e.snapshot.Store(worker.NewSnapshot(p.Services, net, p.Timeouts, p.Tunables, e.net.portOf(), e.snapshot.Load()))
}

// transmitted takes a frame that a worker sent.
func (e *Engine) transmitted(port int, frame []byte) {
	e.sent++
	if e.o.Sent == nil {
		return
	}
	if b := e.net.block(port, frame); b >= 0 {
		e.o.Sent(Frame{Block: b, Interface: e.net.names[b], At: e.stamp, Data: frame})
	}
}

// passer is worker.Passer: the kernel's packets leave the replay here.
type passer struct{ e *Engine }

func (p passer) Pass(_ int, ip []byte, frames int) bool {
	if p.e.o.Passed != nil {
		p.e.o.Passed(Passed{Packet: ip, Frames: frames})
	}
	return true
}

// Network is the network as it is now. NICs that only VLAN interfaces name stand behind the configured interfaces.
func (e *Engine) Network() *neigh.Snapshot { return e.net.static.Snapshot() }

// Now is the time on the engine's clock.
func (e *Engine) Now() clock.Time { return e.now }

// Advance moves the clock, running every timer on the way at its own time. A time in the past changes nothing.
func (e *Engine) Advance(to clock.Time) {
	for {
		timer := clock.Time(e.flows.NextDeadline())
		for _, l := range e.lanes {
			timer = min(timer, l.Wake())
		}
		if min(timer, e.tick) > to {
			break
		}
		if timer <= e.tick {
			e.quiet = 0
		} else if e.quiet++; e.quiet > quietTurns {
			if skip := (min(timer, to) - e.tick) / control.Period; skip > 0 {
				e.tick += skip * control.Period
				continue
			}
		}
		e.now = max(e.now, min(timer, e.tick))
		e.stamp = e.now
		if e.tick <= e.now {
			if e.control.Tick(e.now) {
				e.publish()
			}
			e.tick += control.Period
		}
		for range graceRounds {
			e.round()
		}
	}
	e.now = max(e.now, to)
	e.stamp = e.now
}

// graceRounds are the rounds after which what expired in the first of them may be used again: two epochs of the table's.
const graceRounds = 3

// quietTurns is after how many turns of the control path without anything else happening its figures have come to rest:
// rates lose a quarter with every turn, and they have 64 bits. A capture may begin fifty years after its commands.
const quietTurns = 512

// round gives every worker a turn until none has anything left to do now.
func (e *Engine) round() {
	for busy := true; busy; {
		busy = false
		for _, l := range e.lanes {
			if l.Round(e.now) > 0 && len(e.lanes) > 1 {
				busy = true
			}
		}
	}
}

// Apply carries out changes at the present time, up to the first that fails.
func (e *Engine) Apply(ops ...control.Op) (err error) {
	for i := 0; i < len(ops) && err == nil; i++ {
		err = e.control.Apply(ops[i], e.now)
	}
	e.changed()
	return err
}

// SetMTU changes an interface's MTU, in bytes.
func (e *Engine) SetMTU(name string, mtu uint32) error {
	if err := e.net.static.SetMTU(name, mtu); err != nil {
		return err
	}
	e.changed()
	return nil
}

// SetNeighbor adds or changes a neighbour; packets that waited for it are sent.
func (e *Engine) SetNeighbor(a netip.Addr, mac [6]byte) error {
	if err := e.net.static.SetNeighbor(a, mac); err != nil {
		return err
	}
	e.changed()
	return nil
}

// changed publishes a change and lets the workers adopt it at once.
func (e *Engine) changed() {
	e.quiet = 0
	e.publish()
	e.round()
}
