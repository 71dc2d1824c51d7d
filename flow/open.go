package flow

import "sync/atomic"

// Open adopts the table that a process which is no more left in mem: whatever instant it died at. Connections whose
// client-side word was published are kept; all else is dropped. Nothing of what is kept is absent from the index at any
// time, so Open itself may be killed and run again. Errors: ErrNoTable, ErrBadHeader, ErrWrongLayout.
func Open(mem []byte, workers int) (*Table, error) {
	if len(mem) < pageSize {
		return nil, ErrNoTable
	}
	l, err := headerOf(mem).check(int64(len(mem)))
	if err != nil {
		return nil, err
	}
	t, err := attach(mem, l, workers)
	if err != nil {
		return nil, err
	}
	t.secrets = newSecrets(t.header.Seed)
	t.recover()
	return t, nil
}

// found says which words of a record Open met.
const (
	foundIn  = 1
	foundOut = 2
)

// recover makes index, sweep array and records agree, and builds the free lists. Nobody else uses the table yet.
func (t *Table) recover() {
	found := make([]uint8, t.capacity+1)
	t.scanIndex(found)
	t.dropReplies(found)
	t.findSides(found)
	t.recoverRecords(found)
	t.linkReplies(found)
}

// scanIndex drops the words that are not a record's, or its second of a sort, and sets every bucket's passed to what the
// others need. It asks for the records of eight buckets at a time.
func (t *Table) scanIndex(found []uint8) {
	const ahead = 8
	var ask [ahead * slots]Probe
	passed := make([]uint8, len(t.index))
	for first := 0; first < len(t.index); first += ahead {
		part := t.index[first:min(first+ahead, len(t.index))]
		n := 0
		for b := range part {
			for _, w := range part[b] {
				if r := uint32(w); r != 0 && r <= t.capacity {
					ask[n].addr = t.recsAt + uintptr(r)*recordSize
					n++
				}
			}
		}
		prefetchProbes(&ask[0], n, 0)
		prefetchProbes(&ask[0], n, 64)
		for b := range part {
			for s := range part[b] {
				if w := part[b][s] & wordMask; w != 0 && !t.keepWord(uint32(first+b), w, found, passed) {
					part[b][s] &^= wordMask
				}
			}
		}
	}
	for b := range t.index {
		p := &t.index[b][0]
		atomic.StoreUint64(p, *p&wordMask|uint64(passed[b])<<passedShift)
	}
}

// keepWord notes a word that is a record's, and is the first of its sort.
func (t *Table) keepWord(b uint32, w uint64, found, passed []uint8) bool {
	mark := uint8(foundIn)
	if w&wordOut != 0 {
		mark = foundOut
	}
	home, probe, ok := t.validWord(b, w)
	if !ok || found[Ref(w)]&mark != 0 {
		return false
	}
	found[Ref(w)] |= mark
	for i := range probe {
		if p := &passed[t.probe(home, i)]; *p < passedMax {
			*p++
		}
	}
	return true
}

// dropReplies drops the server-side words of records without a client-side word.
func (t *Table) dropReplies(found []uint8) {
	for r := range found {
		if found[r] == foundOut {
			k := t.recs[r].OutKey()
			t.unlinkWord(Ref(r), t.Hash(&k), wordOut)
			found[r] = 0
		}
	}
}

// validWord tells whether w in bucket b is what the record it names would have there, and where b is from its home.
func (t *Table) validWord(b uint32, w uint64) (home uint32, probe int, ok bool) {
	r := Ref(w)
	if r == 0 || uint32(r) > t.capacity || w&wordTentative != 0 {
		return 0, 0, false
	}
	c := &t.recs[r]
	flags := c.Flags
	if flags&FlagHashed == 0 || (flags&FlagTemplate != 0) != (w&wordTemplate != 0) || c.fam != c.family() {
		return 0, 0, false
	}
	k := c.InKey()
	if w&wordOut != 0 {
		if flags&FlagMethodMask != methodNAT {
			return 0, 0, false
		}
		k = c.OutKey()
	}
	h := t.Hash(&k)
	if tagOf(h) != w&tagMask {
		return 0, 0, false
	}
	home = t.home(h)
	probe, ok = t.probeOf(home, b)
	return home, probe, ok
}

// probeOf says at which probe from home bucket b comes; false if at none.
func (t *Table) probeOf(home, b uint32) (int, bool) {
	for i := range t.probes {
		if t.probe(home, i) == b {
			return i, true
		}
	}
	return 0, false
}

// recoverRecords arms what lives, frees the rest, and counts what hangs on what.
func (t *Table) recoverRecords(found []uint8) {
	last := t.capacity
	for last > 0 && found[last] == 0 {
		last--
	}
	t.pool.init(t.capacity, t.batch, t.workers+1, last+1)
	live := func(r Ref) bool { return uint32(r) <= t.capacity && found[r]&foundIn != 0 }
	for r := uint32(1); r <= last; r++ {
		if live(Ref(r)) {
			t.recs[r].NControl = 0
		}
	}
	clear(t.sweep[last+1:])
	var m magazine
	for r := last; r > 0; r-- { // downwards, so that low numbers come out first
		c := &t.recs[r]
		if found[r] == foundSide {
			t.sweep[r] = 0
			continue
		}
		if !live(Ref(r)) {
			c.Flags = 0
			t.sweep[r] = link | uint32(m.head)
			m.head = Ref(r)
			if m.n++; m.n == t.batch {
				t.pool.push(m)
				m = magazine{}
			}
			continue
		}
		t.base++
		c.Flags &^= flagRekeying
		if c.Flags&FlagNoCPort != 0 {
			t.noPort.Add(1)
		}
		if c.Control != 0 && live(c.Control) {
			t.recs[c.Control].NControl++
			c.Flags |= FlagControlled
		} else {
			c.Control = 0
		}
		t.sweep[r] = unitOf(c.Deadline)
	}
	if m.n > 0 {
		t.local[0].loaded = m
	}
}

// linkReplies puts in the server-side words that had not been published yet.
func (t *Table) linkReplies(found []uint8) {
	for r := Ref(1); r <= Ref(t.pool.used()); r++ {
		c := &t.recs[r]
		if found[r] == foundIn && c.Flags&(FlagTemplate|FlagMethodMask) == methodNAT {
			k := c.OutKey()
			t.linkLatest(r, t.Hash(&k), wordOut)
		}
	}
}
