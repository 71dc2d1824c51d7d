package sched

import (
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

const (
	cacheBits    = 10
	cacheBuckets = 1 << cacheBits
	cacheSize    = cacheBuckets * 16 // entries; more than that are aged faster
	cacheLimit   = cacheSize * 3 / 2 // entries; more are not made
	cachePeriod  = 60 * clock.Second // of the ageing timer
	cacheFull    = 30                // periods between full checks
	cacheIdle    = 360 * clock.Second
)

// cache is what lblc and lblcr remember: destination address → set of servers (lblc: one). The kernel's timer is made
// up for at the next choice, so no clock is needed. All memory is there from the start, but for sets beyond two servers
// an entry on the average.
type cache struct {
	buckets [cacheBuckets]int32 // 1 + index of the first entry; 0: none
	entries []cacheEntry
	members []cacheMember
	freeE   int32 // 1 + index
	freeM   int32 // 1 + index
	n       int   // entries in use

	started bool
	due     clock.Time // next run of the timer
	counter int        // runs since the last full check, from 1
	rover   int        // bucket that the last check ended with
}

type cacheEntry struct {
	addr    packet.Addr
	lastUse clock.Time
	lastMod clock.Time // of the set
	set     int32      // 1 + index of the first member: the latest
	size    int32      // members
	next    int32      // 1 + index in the bucket, or of the free list
}

// cacheMember is a server in a set. It stays when the server is removed, as the kernel's reference does, and counts again
// when a server of the same address and port returns.
type cacheMember struct {
	server *service.Server
	id     service.ServerID
	next   int32 // 1 + index in the set, or of the free list
	gone   bool
}

func newCache() *cache {
	return &cache{entries: make([]cacheEntry, 0, cacheLimit), members: make([]cacheMember, 0, 2*cacheLimit), counter: 1}
}

// update follows a change of the service's servers.
func (c *cache) update(ev service.Event, subject *service.Server) {
	if ev != service.ServerAdded && ev != service.ServerRemoved || c.n == 0 {
		return
	}
	id := subject.ID()
	for i := range c.members {
		m := &c.members[i]
		switch {
		case m.server == nil:
		case ev == service.ServerRemoved && m.server == subject:
			m.gone = true
		case ev == service.ServerAdded && m.gone && m.id == id:
			m.server, m.gone = subject, false
		}
	}
}

func bucketOf(addr packet.Addr) int { return int(hash32(addr.Fold(), cacheBits)) }

// find returns the entry of an address, or nil.
func (c *cache) find(addr packet.Addr) *cacheEntry {
	for i := c.buckets[bucketOf(addr)]; i != 0; i = c.entries[i-1].next {
		if e := &c.entries[i-1]; e.addr == addr {
			return e
		}
	}
	return nil
}

// add makes an entry with one server, unless there are too many.
func (c *cache) add(addr packet.Addr, s *service.Server, now clock.Time) {
	if c.n >= cacheLimit {
		return
	}
	i := c.freeE
	if i != 0 {
		c.freeE = c.entries[i-1].next
	} else {
		c.entries = append(c.entries, cacheEntry{})
		i = int32(len(c.entries))
	}
	b := bucketOf(addr)
	c.entries[i-1] = cacheEntry{addr: addr, lastUse: now, next: c.buckets[b]}
	c.buckets[b] = i
	c.n++
	c.insert(&c.entries[i-1], s, now)
}

// insert puts a server at the front of an entry's set, unless it is in it.
func (c *cache) insert(e *cacheEntry, s *service.Server, now clock.Time) {
	for i := e.set; i != 0; i = c.members[i-1].next {
		if c.members[i-1].server == s && !c.members[i-1].gone {
			return
		}
	}
	i := c.freeM
	if i != 0 {
		c.freeM = c.members[i-1].next
	} else {
		c.members = append(c.members, cacheMember{})
		i = int32(len(c.members))
	}
	c.members[i-1] = cacheMember{server: s, id: s.ID(), next: e.set}
	e.set = i
	e.size++
	e.lastMod = now
}

// erase takes a member out of an entry's set.
func (c *cache) erase(e *cacheEntry, member int32, now clock.Time) {
	for p := &e.set; *p != 0; p = &c.members[*p-1].next {
		if *p == member {
			*p = c.members[member-1].next
			c.members[member-1] = cacheMember{next: c.freeM}
			c.freeM = member
			e.size--
			e.lastMod = now
			return
		}
	}
}

// drop takes entries that unwanted says out of a bucket and returns how many there were.
func (c *cache) drop(bucket int, unwanted func(*cacheEntry) bool) (dropped int) {
	for p := &c.buckets[bucket]; *p != 0; {
		i := *p
		e := &c.entries[i-1]
		if !unwanted(e) {
			p = &e.next
			continue
		}
		*p = e.next
		for e.set != 0 {
			c.erase(e, e.set, 0)
		}
		*e = cacheEntry{next: c.freeE}
		c.freeE = i
		c.n--
		dropped++
	}
	return dropped
}

// age makes up for the runs of the timer that are due. expiration is the sysctl's, in seconds.
func (c *cache) age(now clock.Time, expiration func() int64) {
	if !c.started {
		c.started, c.due = true, now+cachePeriod
	}
	for ; now >= c.due; c.due += cachePeriod {
		if c.n == 0 { // nothing to drop however many runs there were: only the counter moves, and comes round every 30
			runs := int64((now-c.due)/cachePeriod) + 1
			c.counter = int((int64(c.counter)-1+runs)%cacheFull) + 1
			c.due += clock.Time(runs-1) * cachePeriod
			continue
		}
		c.run(c.due, clock.Time(expiration())*clock.Second)
	}
}

// run is one run of the timer.
func (c *cache) run(now, expiration clock.Time) {
	if c.counter%cacheFull == 0 {
		for b := range c.buckets {
			c.drop(b, func(e *cacheEntry) bool { return now >= e.lastUse+expiration })
		}
		c.counter = 1
		return
	}
	if c.n <= cacheSize {
		c.counter++
		return
	}
	goal := min((c.n-cacheSize)*4/3, cacheSize/2)
	for range cacheBuckets {
		c.rover = (c.rover + 1) % cacheBuckets
		goal -= c.drop(c.rover, func(e *cacheEntry) bool { return now >= e.lastUse+cacheIdle })
		if goal <= 0 {
			return
		}
	}
}
