package bench

import (
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/worker"
)

var methods = map[string]service.Method{"dr": service.DR, "nat": service.NAT, "tunnel": service.Tunnel}

// measure makes a site for a combination, runs the bare forwarder and then the workers on it, and runs those a little
// longer with the stage clock on.
func measure(o *Options, c *Result) (*Result, error) {
	s, err := newSite(siteConfig{
		method: methods[c.Method], family: c.Family, connections: c.Connections, fresh: c.Kind == New, workers: c.Workers, batch: o.Batch,
		hugePages: o.HugePages, scheduler: c.Scheduler, servers: c.Servers, services: c.Services, shared: c.Spread == Shared,
		miss: min(o.Duration, 2*time.Second), cpus: o.CPUs,
	})
	if err != nil {
		return nil, err
	}
	defer s.close()
	r := *c
	r.MissNS, r.BytesPer, r.RSSPer, r.Stages = s.missNS, s.bytesPerConnection(), s.rssPer, map[string]float64{}
	r.HugePages, r.Pages = s.memory.Pages != numa.SmallPages, s.memory.Pages.String()
	r.HugeShare = hugeShare()
	// Caches, branch predictors, the table half full and the sweep's steady state; of NAT every connection's first reply.
	for warmed := uint64(0); ; {
		n := s.run(o.Duration/10, false).packets
		if warmed += n; n == 0 || !s.cfg.fresh && s.cfg.method != service.NAT || warmed >= uint64(c.Connections) {
			break
		}
	}
	f := s.runBare(o.Duration / 8)
	r.BareNS, r.BareMPPS = f.ns, f.mpps
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f = s.run(o.Duration, false)
	runtime.ReadMemStats(&after)
	if f.packets == 0 {
		return nil, errors.New("no packet was forwarded")
	}
	if f.ns == 0 {
		return nil, errors.New("the workers never ran side by side: is the machine busy?")
	}
	if err := s.verdict(); err != nil {
		return nil, err
	}
	r.NSPerPacket, r.MPPS = f.ns, f.mpps
	r.RatioMiss, r.RatioBare = f.ns/max(r.MissNS, 1), f.ns/max(r.BareNS, 1)
	r.Allocs = max(0, float64(after.Mallocs-before.Mallocs)-allocsOfRun*float64(c.Workers)) / float64(f.packets)
	for st, ns := range s.run(o.Duration/4, true).stages {
		r.Stages[worker.Stage(st).String()] = ns
	}
	return &r, nil
}

// medianOf merges the repeats of one combination, each number on its own.
func medianOf(list []Result) Result {
	r := list[0]
	of := func(get func(*Result) float64) float64 {
		all := make([]float64, len(list))
		for i := range list {
			all[i] = get(&list[i])
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	r.NSPerPacket = of(func(r *Result) float64 { return r.NSPerPacket })
	r.MPPS = of(func(r *Result) float64 { return r.MPPS })
	r.Scaling = of(func(r *Result) float64 { return r.Scaling })
	r.MissNS = of(func(r *Result) float64 { return r.MissNS })
	r.BareNS = of(func(r *Result) float64 { return r.BareNS })
	r.BareMPPS = of(func(r *Result) float64 { return r.BareMPPS })
	r.BareScaling = of(func(r *Result) float64 { return r.BareScaling })
	r.RatioMiss = of(func(r *Result) float64 { return r.RatioMiss })
	r.RatioBare = of(func(r *Result) float64 { return r.RatioBare })
	r.Allocs = of(func(r *Result) float64 { return r.Allocs })
	r.RSSPer = of(func(r *Result) float64 { return r.RSSPer })
	stages := map[string]float64{}
	for name := range r.Stages {
		stages[name] = of(func(r *Result) float64 { return r.Stages[name] })
	}
	r.Stages = stages
	return r
}
