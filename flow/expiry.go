package flow

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/store"
)

// The sweep array has a word a record:
//
//	0                  nobody's: allocated, or about to be published
//	link | next        free, or removed and waiting for its grace period
//	otherwise          published; the time before which it need not be looked at, in units of 2^26 ns (67 ms)
//
// Sweeping ten million connections reads 40 MB in sequence instead of 640 MB. A packet that extends a deadline writes its
// record alone; the sweep finds the word due, sees the later deadline and puts the word off. Only what brings a deadline
// nearer (Shorten) lowers the word. Times are compared modulo 2^31 units (4.5 years), so the clock's zero does not matter.
const (
	unitShift = 26
	unitMask  = link - 1
	unitAhead = 1 << 30

	sweepGroup = 64  // due records handled at a time
	sweepChunk = 256 // records that a worker sweeps before it skips the other workers' chunks
)

func unitOf(d int64) uint32 {
	u := uint32(d>>unitShift) & unitMask
	if u == 0 {
		return unitMask // one earlier: still a lower bound
	}
	return u
}

// Touch stores the time at which the connection expires; for a later time than before. Hot: a plain store.
//
//fastlb:hot
func (t *Table) Touch(c *Conn, deadline int64) { store.Store64(&c.Deadline, deadline) }

// Shorten stores a deadline that may be nearer than the one before: on changes of state.
func (t *Table) Shorten(r Ref, deadline int64) {
	c := &t.recs[r]
	atomic.StoreInt64(&c.Deadline, deadline) // before the word is read: put off looks the other way round
	t.lower(r, deadline)
	if t.due != nil {
		t.due.lower(r, deadline)
	}
}

// lower makes a published record's word at most the deadline's.
func (t *Table) lower(r Ref, deadline int64) {
	u := unitOf(deadline)
	for {
		v := atomic.LoadUint32(&t.sweep[r])
		if v == 0 || v&link != 0 || (v-u)&unitMask == 0 || (v-u)&unitMask >= unitAhead {
			return
		}
		if atomic.CompareAndSwapUint32(&t.sweep[r], v, u) {
			return
		}
	}
}

// arm makes the sweep look at a record just published, unless somebody removed it already.
func (t *Table) arm(r Ref, deadline int64) {
	atomic.CompareAndSwapUint32(&t.sweep[r], 0, unitOf(deadline))
	if t.due != nil {
		t.due.add(r, deadline)
	}
}

// Sweep looks at up to budget words from where the worker's last call stopped, in the worker's share of the table, and
// calls expire for each connection whose deadline is not after now. expire removes it, or returns the time until which
// it is kept (a template that still controls connections). Sweep returns how many expire was called for.
//
// While TrackDeadlines is on, it expires all that is due in the whole table instead, in order of deadline.
//
//fastlb:hot
func (t *Table) Sweep(worker int, now int64, budget int, expire func(Ref) (keepUntil int64)) int {
	if t.due != nil {
		return t.expireDue(now, expire)
	}
	w := &t.local[worker]
	end := t.pool.used() + 1
	u := uint32(now>>unitShift) & unitMask
	n, due := 0, 0
	for wrapped := false; budget > 0; {
		from := w.hand
		if from >= end {
			w.hand = uint32(worker) * sweepChunk
			if wrapped || w.hand >= end {
				break
			}
			wrapped = true
			continue
		}
		to := min(from&^(sweepChunk-1)+sweepChunk, end, from+uint32(min(budget, sweepChunk)))
		budget -= int(to - from)
		part := t.sweep[from:to]
		for i := range part {
			v := atomic.LoadUint32(&part[i])
			if (u-v)&unitMask < unitAhead && v&link == 0 && v != 0 {
				w.probe[due].Ref, w.probe[due].Hash = Ref(from)+Ref(i), uint64(v)
				if due++; due == sweepGroup {
					n += t.sweepDue(w.probe[:due], now, expire)
					due = 0
				}
			}
		}
		w.hand = to
		if to&(sweepChunk-1) == 0 {
			w.hand += uint32(t.workers-1) * sweepChunk
		}
	}
	return n + t.sweepDue(w.probe[:due], now, expire)
}

// sweepDue handles a group of words that are due: Ref is the record, Hash the word. As in a look-up memory is asked for
// in passes: the records, then the buckets that removal will touch.
func (t *Table) sweepDue(p []Probe, now int64, expire func(Ref) int64) int {
	if len(p) == 0 {
		return 0
	}
	for i := range p {
		p[i].addr = t.recsAt + uintptr(p[i].Ref)*recordSize
	}
	prefetchProbes(&p[0], len(p), 0)
	prefetchProbes(&p[0], len(p), 64)
	nat := false
	for i := range p {
		c := &t.recs[p[i].Ref]
		if atomic.LoadInt64(&c.Deadline) <= now {
			k := c.InKey()
			p[i].addr = t.indexAt + uintptr(t.home(t.Hash(&k)))*64
			nat = nat || c.Method() == methodNAT
		}
	}
	prefetchProbes(&p[0], len(p), 0)
	if nat {
		for i := range p {
			if c := &t.recs[p[i].Ref]; atomic.LoadInt64(&c.Deadline) <= now && c.Method() == methodNAT {
				k := c.OutKey()
				p[i].addr = t.indexAt + uintptr(t.home(t.Hash(&k)))*64
			}
		}
		prefetchProbes(&p[0], len(p), 0)
	}
	n := 0
	for i := range p {
		n += t.sweepOne(p[i].Ref, uint32(p[i].Hash), now, expire)
	}
	return n
}

// sweepOne handles one word that is due; v is what it was read as.
func (t *Table) sweepOne(r Ref, v uint32, now int64, expire func(Ref) int64) int {
	if atomic.LoadUint32(&t.sweep[r]) != v {
		return 0 // removed or changed since
	}
	c := &t.recs[r]
	d := atomic.LoadInt64(&c.Deadline)
	n := 0
	if d <= now {
		if d = expire(r); d <= 0 {
			return 1
		}
		n = 1
		atomic.StoreInt64(&c.Deadline, d)
	}
	t.putOff(r, v, d, now)
	return n
}

// putOff raises a word to its deadline. Shorten stores the deadline, then reads the word; here the word is stored, then
// the deadline read: one of the two sees the other, so a shortened deadline is never slept over.
func (t *Table) putOff(r Ref, v uint32, d, now int64) {
	u := unitOf(min(d, now+unitAhead/2<<unitShift))
	if u == v || !atomic.CompareAndSwapUint32(&t.sweep[r], v, u) {
		return
	}
	if d2 := atomic.LoadInt64(&t.recs[r].Deadline); d2 < d {
		t.lower(r, d2)
	}
}

// NextDeadline is the exact earliest deadline of all connections, or clock.Never. It needs TrackDeadlines.
func (t *Table) NextDeadline() int64 {
	if t.due == nil {
		panic("flow: NextDeadline without TrackDeadlines")
	}
	if r := t.due.earliest(t); r != 0 {
		return t.due.key[r]
	}
	return int64(clock.Never)
}

// TrackDeadlines makes NextDeadline exact and Sweep go by order of deadline. It is for replay and tests, where time jumps
// from deadline to deadline: one goroutine at a time may use the table then.
func (t *Table) TrackDeadlines() {
	t.due = &dueHeap{}
	for r := Ref(1); r <= Ref(t.pool.used()); r++ {
		if v := t.sweep[r]; v != 0 && v&link == 0 {
			t.due.add(r, t.recs[r].Deadline)
		}
	}
}

// TracksDeadlines tells whether TrackDeadlines is on: Sweep is then to be called at every step of time.
func (t *Table) TracksDeadlines() bool { return t.due != nil }

// expireDue is Sweep while deadlines are tracked.
func (t *Table) expireDue(now int64, expire func(Ref) int64) int {
	for n := 0; ; n++ {
		r := t.due.earliest(t)
		if r == 0 || t.due.key[r] > now {
			return n
		}
		if keep := expire(r); keep > 0 {
			c := &t.recs[r]
			atomic.StoreInt64(&c.Deadline, keep)
			t.due.raise(r, keep)
		} else {
			t.due.remove(r) // usually gone already
		}
	}
}
