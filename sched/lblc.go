package sched

import (
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/service"
)

// lblc is locality-based least connection: a destination address stays on its server until that is overloaded while
// another is half empty (spec/schedulers.md 8).
type lblc struct {
	least
	cache      *cache
	expiration func() int64 // seconds
}

func (s *lblc) Update(servers []*service.Server, ev service.Event, subject *service.Server) {
	s.least.Update(servers, ev, subject)
	s.cache.update(ev, subject)
}

func (s *lblc) Schedule(r *service.Request) *service.Server {
	c, now := s.cache, clock.Time(r.Now)
	c.age(now, s.expiration)
	e := c.find(r.Dst)
	if e != nil {
		e.lastUse = now
		// the overload flag is not looked at here
		if m := &c.members[e.set-1]; !m.gone && m.server.LoadWeight() > 0 && !s.busy(m.server) {
			return m.server
		}
	}
	d := s.least.Schedule(r)
	switch {
	case d == nil:
	case e == nil:
		c.add(r.Dst, d, now)
	case c.members[e.set-1].server != d || c.members[e.set-1].gone:
		c.erase(e, e.set, now)
		c.insert(e, d, now)
	}
	return d
}
