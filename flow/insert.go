package flow

import "sync/atomic"

// Alloc gives the worker a zeroed record of its own, or 0 if the table is full. It is nobody else's until Insert.
func (t *Table) Alloc(worker int) Ref {
	w := &t.local[worker]
	r := t.takeFree(w)
	if r == 0 {
		return 0
	}
	t.recs[r] = Conn{}
	return r
}

// Free gives back a record that was never passed to Insert.
func (t *Table) Free(worker int, r Ref) {
	t.eachSide(t.side(r), func(s Ref) { t.putFree(&t.local[worker], s) })
	t.putFree(&t.local[worker], r)
}

// Insert publishes r under its InKey (a template in the templates' space) and, when its method is NAT, under its OutKey.
// The caller has filled in the record, Deadline included. It returns r and true; or the connection that another worker
// inserted under the same InKey, and false; or 0 and false if the index has no room. When false, r has been taken back.
func (t *Table) Insert(worker int, r Ref) (winner Ref, won bool) {
	c := &t.recs[r]
	k := c.InKey()
	return t.InsertHashed(worker, r, t.Hash(&k))
}

// InsertHashed is Insert for a caller that knows the InKey's hash.
func (t *Table) InsertHashed(worker int, r Ref, h uint64) (winner Ref, won bool) {
	winner, won, ho := t.insertIn(worker, r, h)
	if won && t.hasOut(r) && !t.linkOut(r, ho) && t.Remove(worker, r) {
		return 0, false
	}
	return winner, won
}

// InsertDeferred is Insert that publishes the OutKey later: in the worker's next InsertDeferred, by when its bucket has
// come from memory, or in LinkPending. Until then nobody must be able to answer, so the worker calls LinkPending before
// what it forwards can leave. If the index then has no room, the connection expires at the next sweep, by Created. It must
// have its ports for good: Rekey knows nothing of what is to be published yet.
func (t *Table) InsertDeferred(worker int, r Ref) (winner Ref, won bool) {
	c := &t.recs[r]
	k := c.InKey()
	winner, won, ho := t.insertIn(worker, r, t.Hash(&k))
	if won && t.hasOut(r) {
		t.LinkPending(worker)
		w := &t.local[worker]
		w.pending, w.pendingHash = r, ho
	}
	return winner, won
}

// LinkPending publishes the OutKey that InsertDeferred has left, if there is one.
func (t *Table) LinkPending(worker int) {
	w := &t.local[worker]
	r := w.pending
	w.pending = 0
	if r != 0 && !t.linkOut(r, w.pendingHash) {
		t.Shorten(r, t.recs[r].Created)
	}
}

// hasOut tells whether a record of the caller's is to be found by its OutKey too.
func (t *Table) hasOut(r Ref) bool {
	return t.recs[r].LoadFlags()&(FlagTemplate|FlagMethodMask) == methodNAT
}

// insertIn publishes a record under its InKey and arms it. ho is the hash of its OutKey if it has one, whose bucket is asked for.
func (t *Table) insertIn(worker int, r Ref, h uint64) (winner Ref, won bool, ho uint64) {
	w, c := &t.local[worker], &t.recs[r]
	c.fam = c.family()
	c.Flags |= FlagHashed
	flags := c.Flags
	kind := uint64(0)
	if flags&FlagTemplate != 0 {
		kind = wordTemplate
	} else if flags&FlagMethodMask == methodNAT {
		k := c.OutKey()
		ho = t.Hash(&k)
		w.probe[0].addr = t.indexAt + uintptr(t.home(ho))*64
		prefetchProbes(&w.probe[0], 1, 0)
	}
	winner, won = t.linkUnique(r, h, kind, *portsWord(c)&portsIn)
	if !won {
		atomic.StoreUint32(&c.Flags, flags&^FlagHashed)
		t.retireSides(w, r)
		t.retire(w, r) // others may be comparing its key
		return winner, false, 0
	}
	w.added.Store(w.added.Load() + 1)
	if flags&FlagNoCPort != 0 {
		t.noPort.Add(1)
	}
	t.arm(r, atomic.LoadInt64(&c.Deadline))
	return r, true, ho
}

// linkOut publishes a record under its OutKey; false if the index has no room.
func (t *Table) linkOut(r Ref, h uint64) bool {
	if !t.linkLatest(r, h, wordOut) {
		return false
	}
	if t.recs[r].LoadFlags()&FlagHashed == 0 {
		t.unlinkWord(r, h, wordOut) // removed by somebody who found the first word; the second came too late for him
	}
	return true
}

const methodNAT = 0 // service.NAT

// linkUnique publishes an In or template word such that of all records with equal keys one alone is ever to be found.
//
// A word is first put in tentatively. Then the whole probe sequence is searched for equal keys: a decided one wins, a
// tentative one is thrown out by compare-and-swap. Then the own word is decided by compare-and-swap, which fails if
// somebody threw it out; in that case all is tried again. Of two words both decided, the one put in later would have been
// put in before its owner searched, and the search would have met the other: as decided, and given up; or as tentative,
// and thrown it out, upon which it cannot have been decided. So there are never two.
//
// The one with the greater Ref first looks a while whether the other gets decided, so that two do not throw each other
// out for long; but nobody ever waits for somebody who is not running. ports is the key's part that Rekey has not stored
// in the record yet.
func (t *Table) linkUnique(r Ref, h, kind, ports uint64) (Ref, bool) {
	w := makeWord(h, kind, r)
	for {
		if rival := t.settle(r, h, kind, ports); rival != 0 {
			return rival, false
		}
		at, ok := t.put(h, w|wordTentative)
		if !ok {
			return 0, false
		}
		if rival := t.settle(r, h, kind, ports); rival != 0 {
			t.take(at, w|wordTentative)
			return rival, false
		}
		if t.swap(at, w|wordTentative, w) {
			return r, true
		}
	}
}

// patience is how often the greater Ref looks again before it throws out a tentative rival: longer than an insertion
// takes on a running core.
const patience = 1 << 10

// settle throws out tentative rivals of r, and returns a decided one if there is one.
func (t *Table) settle(r Ref, h, kind, ports uint64) Ref {
	want := tagOf(h) | kind
	home := t.home(h)
	for i := range t.probes {
		b := &t.index[t.probe(home, i)]
		for s := range b {
			v := atomic.LoadUint64(&b[s])
			if v&(tagMask|wordOut|wordTemplate) != want {
				continue
			}
			rival := Ref(v & refMask)
			if rival == r || !t.sameIn(rival, r, ports) {
				continue
			}
			at := place{home, i, s}
			for n := 0; v&wordTentative != 0 && Ref(v&refMask) == rival; n++ {
				if r < rival || n == patience {
					if t.take(at, v&wordMask) {
						break
					}
				}
				v = atomic.LoadUint64(&b[s])
			}
			if v&wordTentative == 0 && Ref(v&refMask) == rival {
				return rival
			}
		}
		if atomic.LoadUint64(&b[0])>>passedShift == 0 {
			return 0
		}
	}
	return 0
}

// sameIn tells whether two records have the same InKey; ports is b's word, masked.
func (t *Table) sameIn(a, b Ref, ports uint64) bool {
	x, y := &t.recs[a], &t.recs[b]
	return atomic.LoadUint64(portsWord(x))&portsIn == ports && x.Client == y.Client && x.Virtual == y.Virtual
}

// linkLatest publishes a word that may legitimately have equals (two connections of one client port to two virtual
// addresses may have the same server), so that a look-up finds the latest. If an equal one lies before the first empty
// slot, that one is copied to the empty slot and its place is taken.
func (t *Table) linkLatest(r Ref, h, kind uint64) bool {
	w := makeWord(h, kind, r)
	home := t.home(h)
	for {
		empty, ok := t.freePlace(home, 0)
		if !ok {
			return false
		}
		older, v := t.equalBefore(empty, r, h, kind)
		if v == 0 {
			t.pass(empty)
			if t.swap(empty, 0, w) {
				return true
			}
			t.unpass(empty)
			continue
		}
		t.pass(empty)
		if !t.swap(empty, 0, v) {
			t.unpass(empty)
			continue
		}
		if t.swap(older, v, w) {
			return true
		}
		t.take(empty, v) // it was removed meanwhile; the copy must not stay
	}
}

// equalBefore finds a word of equal key and kind that lies before a place in the probe sequence.
func (t *Table) equalBefore(end place, r Ref, h, kind uint64) (place, uint64) {
	want := tagOf(h) | kind
	for i := 0; i <= end.probe; i++ {
		b := &t.index[t.probe(end.home, i)]
		for s := range b {
			if i == end.probe && s >= end.slot {
				break
			}
			v := atomic.LoadUint64(&b[s]) & wordMask
			if v&^refMask != want || Ref(v) == r {
				continue
			}
			if kind == wordOut && t.sameOut(Ref(v), r) || kind != wordOut && t.sameIn(Ref(v), r, *portsWord(&t.recs[r])&portsIn) {
				return place{end.home, i, s}, v
			}
		}
	}
	return place{}, 0
}

func (t *Table) sameOut(a, b Ref) bool {
	x, y := &t.recs[a], &t.recs[b]
	return atomic.LoadUint64(portsWord(x))&portsOut == atomic.LoadUint64(portsWord(y))&portsOut &&
		x.Client == y.Client && x.Dest == y.Dest
}

func (t *Table) unlinkWord(r Ref, h, kind uint64) { t.takeAll(h, makeWord(h, kind, r)) }
