package control

import (
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/service"
)

// ratePeriod is how often rates are estimated.
const ratePeriod = 2 * clock.Second

// rate is the estimator of one server, service or the table: spec/connections.md 12.1, numbers and shifts as there. It
// works on statistics from the last -Z on.
type rate struct {
	last                              service.Stats
	cps, inpps, outpps, inbps, outbps int64
}

// update is one step of the estimator.
func (r *rate) update(s service.Stats) {
	for _, x := range [...]struct {
		rate      *int64
		now, last uint64
		shift     int
	}{
		{&r.cps, s.Conns, r.last.Conns, 9}, {&r.inpps, s.InPkts, r.last.InPkts, 9}, {&r.outpps, s.OutPkts, r.last.OutPkts, 9},
		{&r.inbps, s.InBytes, r.last.InBytes, 4}, {&r.outbps, s.OutBytes, r.last.OutBytes, 4},
	} {
		*x.rate += (int64(x.now-x.last)<<x.shift - *x.rate) >> 2
	}
	r.last = s
}

// shown are the rates per second as listings have them.
func (r *rate) shown() service.Stats {
	packets := func(v int64) uint64 { return uint64(v+0x1ff) >> 10 }
	bytes := func(v int64) uint64 { return uint64(v+0xf) >> 5 }
	return service.Stats{
		Conns: packets(r.cps), InPkts: packets(r.inpps), OutPkts: packets(r.outpps),
		InBytes: bytes(r.inbps), OutBytes: bytes(r.outbps),
	}
}

// estimator holds the rates of everything.
type estimator struct {
	servers  []rate           // by slot number
	services map[uint32]*rate // by service number
	total    rate
	due      clock.Time
	started  bool
}

// of is a service's rate.
func (e *estimator) of(s *service.Service) *rate {
	r := e.services[s.Number]
	if r == nil {
		r = &rate{}
		e.services[s.Number] = r
	}
	return r
}

// zero lets a service's rates and those of its servers begin at 0.
func (e *estimator) zero(s *service.Service) {
	delete(e.services, s.Number)
	for _, d := range s.Servers {
		e.servers[d.Number] = rate{}
	}
}

func (e *estimator) zeroAll() {
	clear(e.services)
	clear(e.servers)
	e.total = rate{}
}

// manyPeriods is after how many periods without a packet every rate has come to rest: one loses a quarter a period.
const manyPeriods = 160

// estimate makes the estimator's steps that are due.
func (c *Control) estimate(now clock.Time) {
	e := &c.rates
	if !e.started {
		e.started, e.due = true, now-now%ratePeriod+ratePeriod
	}
	if gap := (now - e.due) / ratePeriod; gap > manyPeriods {
		e.due += (gap - manyPeriods) * ratePeriod
	}
	for ; now >= e.due; e.due += ratePeriod {
		if !c.tunables.RunEstimation {
			continue
		}
		for _, s := range c.table.Services() {
			stats, _ := c.table.ServiceStats(s.ID)
			e.of(s).update(stats)
			for _, d := range s.Servers {
				e.servers[d.Number].update(c.table.ServerStats(d))
			}
		}
		e.total.update(c.table.TotalStats())
	}
}
