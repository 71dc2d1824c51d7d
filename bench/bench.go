package bench

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/sched"
	"github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/worker"
)

// Kind of packets that are measured.
const (
	Established = "established" // of known connections, in random order; NAT alternates the two directions
	New         = "new"         // the first of its connection, into a table that is half full, the sweep included
)

// Options say what to measure.
type Options struct {
	Methods     []string // dr, nat, tunnel
	Families    []int    // 4, 6
	Connections []int
	Kinds       []string
	Schedulers  []string // for new connections; established packets meet none
	Servers     []int    // real servers of the service
	Workers     int
	Batch       int
	Duration    time.Duration
	HugePages   numa.HugePages
	CPUs        []int             // to pin the workers to; none: wherever they run
	Progress    func(done string) // called after each result; may be nil
}

// Defaults are what the command measures when it is told nothing.
func Defaults() Options {
	return Options{
		Methods: []string{"dr", "nat", "tunnel"}, Families: []int{4, 6}, Connections: []int{1_000, 1_000_000, 10_000_000},
		Kinds: []string{Established, New}, Schedulers: []string{"rr"}, Servers: []int{8}, Workers: 1, Batch: 64, Duration: 2 * time.Second,
	}
}

// Machine describes where the figures were made.
type Machine struct {
	CPU       string `json:"cpu"`
	CPUs      int    `json:"cpus"`
	Kernel    string `json:"kernel"`
	Go        string `json:"go"`
	HugePages string `json:"hugepages"`
}

// Result is one figure.
type Result struct {
	Method      string             `json:"method"`
	Family      int                `json:"family"`
	Connections int                `json:"connections"`
	Kind        string             `json:"kind"`
	Scheduler   string             `json:"scheduler"`
	Servers     int                `json:"servers"`
	Workers     int                `json:"workers"`
	NSPerPacket float64            `json:"ns_per_packet"` // of one worker
	MPPS        float64            `json:"mpps"`          // of all workers
	MissNS      float64            `json:"miss_ns"`
	HugePages   bool               `json:"hugepages"`
	Allocs      float64            `json:"allocs_per_packet"`
	BytesPer    float64            `json:"bytes_per_connection"`
	Stages      map[string]float64 `json:"stages"` // ns a packet, from a separate pass with the stage clock on
}

// Report is what the command prints.
type Report struct {
	Machine Machine  `json:"machine"`
	Results []Result `json:"results"`
}

// Run measures every combination of the options, one after the other.
func Run(o Options) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	r := &Report{Machine: thisMachine(), Results: []Result{}}
	for _, c := range o.combinations() {
		res, err := measure(&o, &c)
		if err != nil {
			return nil, fmt.Errorf("bench %s: %w", &c, err)
		}
		r.Results = append(r.Results, *res)
		if o.Progress != nil {
			o.Progress(c.String())
		}
	}
	return r, nil
}

// combinations lists what is to be measured, the results still empty.
func (o *Options) combinations() (list []Result) {
	for _, connections := range o.Connections {
		for _, kind := range o.Kinds {
			schedulers := o.Schedulers
			if kind == Established {
				schedulers = schedulers[:1]
			}
			for _, scheduler := range schedulers {
				for _, servers := range o.Servers {
					for _, method := range o.Methods {
						for _, family := range o.Families {
							list = append(list, Result{
								Method: method, Family: family, Connections: connections, Kind: kind, Scheduler: scheduler, Servers: servers, Workers: o.Workers,
							})
						}
					}
				}
			}
		}
	}
	return list
}

// String is a result's combination.
func (r *Result) String() string {
	return fmt.Sprintf("%s, IPv%d, %d connections, %s, %s over %d", r.Method, r.Family, r.Connections, r.Kind, r.Scheduler, r.Servers)
}

// Check says what is wrong with the options.
func (o *Options) Check() error {
	for _, m := range o.Methods {
		if _, ok := methods[m]; !ok {
			return fmt.Errorf("method %q: choose dr, nat or tunnel", m)
		}
	}
	for _, k := range o.Kinds {
		if k != Established && k != New {
			return fmt.Errorf("kind %q: choose established or new", k)
		}
	}
	if len(o.Schedulers) == 0 || len(o.Servers) == 0 {
		return errors.New("name at least one scheduler and one number of servers")
	}
	for _, v := range o.Schedulers {
		if !slices.Contains(sched.Names(), v) {
			return fmt.Errorf("scheduler %q: choose among %s", v, strings.Join(sched.Names(), ", "))
		}
	}
	for _, n := range o.Servers {
		if n < 1 || n > 4000 {
			return fmt.Errorf("%d servers: choose 1 to 4000", n)
		}
	}
	for _, f := range o.Families {
		if f != 4 && f != 6 {
			return fmt.Errorf("family %d: choose 4 or 6", f)
		}
	}
	for _, c := range o.Connections {
		if c < 1 || c > 100_000_000 {
			return fmt.Errorf("%d connections: choose 1 to 100000000", c)
		}
	}
	switch {
	case o.Workers < 1 || o.Workers > 64:
		return fmt.Errorf("%d workers: choose 1 to 64", o.Workers)
	case o.Batch < 1 || o.Batch > worker.MaxBatch:
		return fmt.Errorf("batch %d: choose 1 to %d", o.Batch, worker.MaxBatch)
	case o.Duration < time.Millisecond:
		return fmt.Errorf("duration %v: choose at least 1ms", o.Duration)
	}
	return nil
}

var methods = map[string]service.Method{"dr": service.DR, "nat": service.NAT, "tunnel": service.Tunnel}

// measure makes a site for a combination, runs it for the duration, and runs it a little longer with the stage clock on.
func measure(o *Options, c *Result) (*Result, error) {
	s, err := newSite(siteConfig{
		method: methods[c.Method], family: c.Family, connections: c.Connections, fresh: c.Kind == New, workers: o.Workers, batch: o.Batch,
		hugePages: o.HugePages, scheduler: c.Scheduler, servers: c.Servers,
	})
	if err != nil {
		return nil, err
	}
	defer s.close()
	r := *c
	if r.MissNS, err = s.miss(o.HugePages, o.Duration); err != nil {
		return nil, err
	}
	r.HugePages, r.BytesPer, r.Stages = s.memory.Pages != numa.SmallPages, s.bytesPerConnection(), map[string]float64{}
	for warmed := uint64(0); ; { // caches, branch predictors, the table half full and the sweep's steady state
		n, _ := s.run(o.CPUs, o.Duration/10, nil)
		if warmed += n; n == 0 || !s.cfg.fresh || warmed >= uint64(c.Connections) {
			break
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	packets, ns := s.run(o.CPUs, o.Duration, nil)
	runtime.ReadMemStats(&after)
	if packets == 0 || ns == 0 {
		return nil, fmt.Errorf("no packet was forwarded")
	}
	if err := s.verdict(); err != nil {
		return nil, err
	}
	r.NSPerPacket = ns
	r.MPPS = 1e3 / r.NSPerPacket * float64(o.Workers)
	r.Allocs = max(0, float64(after.Mallocs-before.Mallocs)-allocsOfRun*float64(o.Workers)) / float64(packets)
	profiles := make([]worker.Profile, o.Workers)
	packets, _ = s.run(o.CPUs, o.Duration/4, profiles)
	for st := range worker.Stages {
		var ns int64
		for i := range profiles {
			ns += profiles[i].Spent[st]
		}
		r.Stages[st.String()] = float64(ns) / float64(max(packets, 1))
	}
	return &r, nil
}

// allocsOfRun is what a run allocates per worker for its goroutine, whatever the number of packets.
const allocsOfRun = 16

// run drives every worker for the duration and returns the packets handled and the nanoseconds a packet that the workers'
// rounds took: the median of short pieces, so that whoever else uses the CPUs is left out.
func (s *site) run(cpus []int, d time.Duration, profiles []worker.Profile) (packets uint64, ns float64) {
	var wg sync.WaitGroup
	var stop atomic.Bool
	for i, l := range s.lanes {
		wg.Add(1)
		l.packets, l.pieces, l.rounds, l.count, l.busy = 0, l.pieces[:0], 0, 0, 0
		l.profile = nil
		if profiles != nil {
			l.profile = &profiles[i]
			l.profile.Clock = nanotime
		}
		l.worker.SetProfile(l.profile)
		go func() {
			defer wg.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if i < len(cpus) {
				if old, err := numa.Allowed(); err == nil && numa.Pin(cpus[i]) == nil {
					defer func() { _ = numa.PinTo(old) }()
				}
			}
			end := nanotime() + int64(d)
			for n := 0; ; n++ {
				if n&63 == 0 && (stop.Load() || nanotime() >= end) {
					break
				}
				l.turn()
			}
			stop.Store(true) // when one ends all do: rates are of workers that run beside each other
			l.worker.Idle()
		}()
	}
	wg.Wait()
	for _, l := range s.lanes {
		packets += l.packets
		if len(l.pieces) == 0 && l.count > 0 { // a short run
			l.pieces = append(l.pieces, float32(l.busy)/float32(l.count))
		}
		ns += median(l.pieces) / float64(len(s.lanes))
	}
	return packets, ns
}

var epoch = time.Now()

// nanotime is the monotonic clock.
func nanotime() int64 { return int64(time.Since(epoch)) }
