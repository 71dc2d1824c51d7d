package sched

import (
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/service"
)

// lblcr is lblc with replication: a destination address has a set of servers that grows when the least loaded of them is
// overloaded, and shrinks when it has not changed for long (spec/schedulers.md 9).
type lblcr struct {
	least
	cache      *cache
	expiration func() int64 // seconds
}

func (s *lblcr) Update(servers []*service.Server, ev service.Event, subject *service.Server) {
	s.least.Update(servers, ev, subject)
	s.cache.update(ev, subject)
}

func (s *lblcr) Schedule(r *service.Request) *service.Server {
	c, now := s.cache, clock.Time(r.Now)
	c.age(now, s.expiration)
	e := c.find(r.Dst)
	if e == nil {
		d := s.least.Schedule(r)
		if d != nil {
			c.add(r.Dst, d, now)
		}
		return d
	}
	e.lastUse = now
	d := c.lightest(e)
	if e.size > 1 && now > e.lastMod+clock.Time(s.expiration())*clock.Second {
		if most := c.most(e); most != 0 {
			c.erase(e, most, now)
		}
	}
	if d != nil && !s.busy(d) {
		return d
	}
	if d = s.least.Schedule(r); d != nil {
		c.insert(e, d, now)
	}
	return d
}

// lightest is the least loaded usable server of a set.
func (c *cache) lightest(e *cacheEntry) *service.Server {
	var best *service.Server
	var load, weight int64
	for i := e.set; i != 0; i = c.members[i-1].next {
		m := &c.members[i-1]
		if m.gone || m.server.Overloaded() {
			continue
		}
		w := int64(m.server.LoadWeight())
		if best == nil {
			if w > 0 {
				best, load, weight = m.server, m.server.Overhead(), w
			}
			continue
		}
		if o := m.server.Overhead(); load*w > o*weight {
			best, load, weight = m.server, o, w
		}
	}
	return best
}

// most is the most loaded member of a set that has a weight, whatever its flags: 1 + index; 0: none.
func (c *cache) most(e *cacheEntry) (member int32) {
	var load, weight int64
	for i := e.set; i != 0; i = c.members[i-1].next {
		d := c.members[i-1].server
		w := int64(d.LoadWeight())
		if w <= 0 {
			continue
		}
		if o := d.Overhead(); member == 0 || load*w < o*weight {
			member, load, weight = i, o, w
		}
	}
	return member
}
