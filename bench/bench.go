package bench

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/sched"
	"github.com/fastlb/fastlb/worker"
)

// Kind of packets that are measured.
const (
	Established = "established" // of known connections, in random order; NAT alternates the two directions
	New         = "new"         // the first of its connection, into a table that is half full, the sweep included
)

// How packets come to the workers.
const (
	// As a NIC's hash spreads them: a connection's packets to one worker, its replies to one that need not be the same.
	RSS = "rss"
	// Any packet to any worker, which no NIC does: what sharing connections costs.
	Shared = "shared"
)

// Options say what to measure.
type Options struct {
	Methods     []string // dr, nat, tunnel
	Families    []int    // 4, 6
	Connections []int
	Kinds       []string
	Schedulers  []string // for new connections; established packets meet none
	Servers     []int    // real servers of each service
	Workers     []int    // side by side
	Services    int      // virtual services; worker i's connections are those of service i modulo this
	Spread      string   // RSS, Shared
	Repeat      int      // times that everything is measured; the medians are reported
	Batch       int
	Duration    time.Duration
	HugePages   numa.HugePages
	CPUs        []int             // to pin the workers to; none: those that the process may use, in order
	Progress    func(done string) // called after each result; may be nil
}

// Defaults are what the command measures when it is told nothing.
func Defaults() Options {
	return Options{
		Methods: []string{"dr", "nat", "tunnel"}, Families: []int{4, 6}, Connections: []int{1_000, 1_000_000, 10_000_000},
		Kinds: []string{Established, New}, Schedulers: []string{"rr"}, Servers: []int{8}, Workers: []int{1}, Services: 1,
		Spread: RSS, Repeat: 1, Batch: 64, Duration: 2 * time.Second,
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

// Result is one figure, each number the median of the repeats.
type Result struct {
	Method      string             `json:"method"`
	Family      int                `json:"family"`
	Connections int                `json:"connections"`
	Kind        string             `json:"kind"`
	Scheduler   string             `json:"scheduler"`
	Servers     int                `json:"servers"`
	Services    int                `json:"services"`
	Spread      string             `json:"spread"`
	Workers     int                `json:"workers"`
	NSPerPacket float64            `json:"ns_per_packet"` // of one worker, the mean over the workers
	MPPS        float64            `json:"mpps"`          // of all workers
	Scaling     float64            `json:"scaling"`       // mpps over that of one worker in the same run; 1 for one worker
	MissNS      float64            `json:"miss_ns"`
	BareNS      float64            `json:"bare_ns"`      // ns a packet of a forwarder that swaps MAC addresses and does nothing else
	BareMPPS    float64            `json:"bare_mpps"`    // of as many of those as there are workers
	BareScaling float64            `json:"bare_scaling"` // bare_mpps over that of one: they share nothing, so it is what the machine gives
	RatioMiss   float64            `json:"ratio_miss"`   // ns_per_packet over miss_ns
	RatioBare   float64            `json:"ratio_bare"`   // ns_per_packet over bare_ns
	HugePages   bool               `json:"hugepages"`
	Pages       string             `json:"pages"`           // that the table lies in; the miss was measured in the same memory, before the table was made
	HugeShare   float64            `json:"hugepages_share"` // part of the process's memory that lies in huge pages
	Allocs      float64            `json:"allocs_per_packet"`
	BytesPer    float64            `json:"bytes_per_connection"`               // of the table
	RSSPer      float64            `json:"rss_bytes_per_connection,omitempty"` // by which the process grew, UMEM apart; established only
	Stages      map[string]float64 `json:"stages"`                             // ns a packet, from a separate pass with the stage clock on
}

// Report is what the command prints.
type Report struct {
	Machine Machine  `json:"machine"`
	Results []Result `json:"results"`
}

// Run measures every combination of the options, one after the other, and that as often as Repeat says, so that a time in
// which the machine is disturbed falls on one repeat of each.
func Run(o Options) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	list := o.combinations()
	taken := make([][]Result, len(list))
	for range o.Repeat {
		var one, res *Result
		var err error
		for i := range list {
			c := &list[i]
			if res, one, err = o.measureBeside(c, one); err != nil {
				return nil, fmt.Errorf("bench %s: %w", c, err)
			}
			taken[i] = append(taken[i], *res)
			if o.Progress != nil {
				o.Progress(c.String())
			}
		}
	}
	r := &Report{Machine: thisMachine(), Results: []Result{}}
	for i := range taken {
		r.Results = append(r.Results, medianOf(taken[i]))
	}
	return r, nil
}

// measureBeside measures a combination. one is the latest result of one worker, to which others are compared; it is
// measured when it is of another combination.
func (o *Options) measureBeside(c *Result, one *Result) (res *Result, _ *Result, err error) {
	if one == nil || one.String() != c.String() {
		single := *c
		single.Workers = 1
		if one, err = measure(o, &single); err != nil {
			return nil, nil, err
		}
		one.Scaling, one.BareScaling = 1, 1
	}
	if c.Workers == 1 {
		return one, one, nil
	}
	if res, err = measure(o, c); err != nil {
		return nil, nil, err
	}
	res.Scaling, res.BareScaling = res.MPPS/one.MPPS, res.BareMPPS/one.BareMPPS
	return res, one, nil
}

// combinations lists what is to be measured, the results still empty. Workers change fastest: so what is compared is
// measured close together.
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
							for _, workers := range o.Workers {
								list = append(list, Result{
									Method: method, Family: family, Connections: connections, Kind: kind, Scheduler: scheduler, Servers: servers,
									Services: o.Services, Spread: o.Spread, Workers: workers,
								})
							}
						}
					}
				}
			}
		}
	}
	return list
}

// String is a result's combination, but for the number of workers.
func (r *Result) String() string {
	s := fmt.Sprintf("%s, IPv%d, %d connections, %s, %s over %d", r.Method, r.Family, r.Connections, r.Kind, r.Scheduler, r.Servers)
	if r.Services > 1 {
		s += fmt.Sprintf(", %d services", r.Services)
	}
	if r.Spread == Shared {
		s += ", shared"
	}
	return s
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
	if len(o.Schedulers) == 0 || len(o.Servers) == 0 || len(o.Workers) == 0 {
		return errors.New("name at least one scheduler, one number of servers and one of workers")
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
		if n*o.Services > 4000 {
			return fmt.Errorf("%d servers for each of %d services: choose 4000 in all", n, o.Services)
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
	for _, w := range o.Workers {
		if w < 1 || w > 64 {
			return fmt.Errorf("%d workers: choose 1 to 64", w)
		}
		if w > runtime.NumCPU() {
			return fmt.Errorf("%d workers on %d CPUs would take turns, which says nothing: choose fewer", w, runtime.NumCPU())
		}
		if len(o.CPUs) > 0 && w > len(o.CPUs) {
			return fmt.Errorf("%d workers and %d CPUs to pin them to: name as many", w, len(o.CPUs))
		}
	}
	switch {
	case o.Services < 1 || o.Services > 64:
		return fmt.Errorf("%d services: choose 1 to 64", o.Services)
	case o.Spread != RSS && o.Spread != Shared:
		return fmt.Errorf("spread %q: choose rss or shared", o.Spread)
	case o.Repeat < 1 || o.Repeat > 1000:
		return fmt.Errorf("repeat %d: choose 1 to 1000", o.Repeat)
	case o.Batch < 1 || o.Batch > worker.MaxBatch:
		return fmt.Errorf("batch %d: choose 1 to %d", o.Batch, worker.MaxBatch)
	case o.Duration < time.Millisecond:
		return fmt.Errorf("duration %v: choose at least 1ms", o.Duration)
	}
	return nil
}
