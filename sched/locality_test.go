package sched

import (
	"slices"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// step is a row of the examples: the active connections of A and B, and who is chosen for the one destination.
type step struct {
	a, b int32
	want string
}

func walk(t *testing.T, name string, list []*service.Server, steps []step) service.Scheduler {
	t.Helper()
	s := start(t, name, list)
	for i, x := range steps {
		list[0].Active, list[1].Active = x.a, x.b
		if got := picks(s, 1); got != x.want {
			t.Errorf("%s step %d: %s, want %s", name, i, got, x.want)
		}
	}
	return s
}

func TestLBLC(t *testing.T) {
	list := weights(2, 2)
	s := walk(t, "lblc", list, []step{{0, 0, "A"}, {2, 0, "A"}, {3, 0, "B"}, {3, 1, "B"}, {9, 3, "B"}})
	list[1].Weight = 0
	if got := picks(s, 1); got != "A" {
		t.Errorf("B of weight 0: %s", got)
	}
	compare(t, "lblc", func() model { return &localTwin{entries: map[packet.Addr]*localEntry{}} })
}

func TestLBLCR(t *testing.T) {
	list := weights(2, 2)
	s := walk(t, "lblcr", list, []step{{0, 0, "A"}, {3, 0, "B"}, {1, 2, "A"}}).(*lblcr)
	e := s.cache.find(packet.Addr{})
	if e.size != 2 {
		t.Fatalf("the set has %d members", e.size)
	}
	day := int64(86401 * clock.Second)
	e.lastUse = clock.Time(day) // used all day, hence not dropped by the timer
	if got := letter(s.Schedule(&service.Request{Now: day})); got != "A" || e.size != 1 || s.cache.members[e.set-1].server != list[0] {
		t.Errorf("a day later: %s, %d members", got, e.size)
	}
	compare(t, "lblcr", func() model { return &localTwin{many: true, entries: map[packet.Addr]*localEntry{}} })
}

// localTwin is the twin of lblc and lblcr with maps and slices, and a timer that runs every minute.
type localTwin struct {
	many    bool
	entries map[packet.Addr]*localEntry
	counter int
	since   clock.Time
	going   bool
}

type localEntry struct {
	set          []*service.Server // latest first
	used, change clock.Time
}

func (m *localTwin) changed([]*service.Server, service.Event, *service.Server) {}

func (m *localTwin) tick(now clock.Time) {
	if !m.going {
		m.going, m.since, m.counter = true, now, 1
	}
	for m.since+60*clock.Second <= now {
		m.since += 60 * clock.Second
		if m.counter%30 != 0 {
			m.counter++
			continue
		}
		m.counter = 1
		for k, e := range m.entries {
			if e.used+86400*clock.Second <= m.since {
				delete(m.entries, k)
			}
		}
	}
}

func (m *localTwin) pick(list []*service.Server, r *service.Request) *service.Server {
	now := clock.Time(r.Now)
	m.tick(now)
	busy := func(d *service.Server) bool {
		return d.Active > d.Weight && slices.ContainsFunc(list, func(o *service.Server) bool { return o.Active*2 < o.Weight })
	}
	wlc := lowest((*service.Server).Overhead)
	e := m.entries[r.Dst]
	if e == nil {
		d := wlc(list, r)
		if d != nil {
			m.entries[r.Dst] = &localEntry{set: []*service.Server{d}, used: now, change: now}
		}
		return d
	}
	e.used = now
	if !m.many {
		if d := e.set[0]; d.Available() && d.Weight > 0 && !busy(d) {
			return d
		}
		d := wlc(list, r)
		if d != nil {
			e.set[0] = d
		}
		return d
	}
	var there []*service.Server
	for _, d := range e.set {
		if d.Available() {
			there = append(there, d)
		}
	}
	d := wlc(there, r)
	if len(e.set) > 1 && now > e.change+86400*clock.Second {
		most := -1
		for i, d := range e.set {
			if d.Weight > 0 && (most < 0 || d.Overhead()*int64(e.set[most].Weight) > e.set[most].Overhead()*int64(d.Weight)) {
				most = i
			}
		}
		if most >= 0 {
			e.set = slices.Delete(slices.Clone(e.set), most, most+1)
			e.change = now
		}
	}
	if d != nil && !busy(d) {
		return d
	}
	if d = wlc(list, r); d != nil && !slices.Contains(e.set, d) {
		e.set = slices.Insert(e.set, 0, d)
		e.change = now
	}
	return d
}

// The cache takes 24576 entries, drops those unused for six minutes when it holds more than 16384, and the ones unused
// for a day every half hour.
func TestCacheAges(t *testing.T) {
	s := start(t, "lblc", weights(1)).(*lblc)
	at := func(i int, now clock.Time) {
		s.Schedule(&service.Request{Dst: packet.Addr{Lo: uint64(i)<<32 | 0xffff0000}, Now: int64(now)})
	}
	for i := range cacheLimit + 100 {
		at(i, 0)
	}
	if s.cache.n != cacheLimit {
		t.Errorf("%d entries, want %d", s.cache.n, cacheLimit)
	}
	at(0, 359*clock.Second)
	if s.cache.n != cacheLimit {
		t.Errorf("%d entries after 5 minutes", s.cache.n)
	}
	at(0, 361*clock.Second)
	if left := s.cache.n; left > cacheLimit-cacheSize/2+1 || left < cacheLimit-cacheSize/2-100 {
		t.Errorf("%d entries after 6 minutes", left)
	}
	for m := clock.Time(7); m < 24*60+60; m++ {
		at(0, m*60*clock.Second)
	}
	if s.cache.n != 1 {
		t.Errorf("%d entries after a day", s.cache.n)
	}
	at(0, 1000*86400*clock.Second)
	if s.cache.n != 1 || len(s.cache.entries) != cacheLimit {
		t.Errorf("%d entries of %d after years", s.cache.n, len(s.cache.entries))
	}
}
