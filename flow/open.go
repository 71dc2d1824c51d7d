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
	t.scanWords(found, func(w uint64) bool { return w&wordOut == 0 }, foundIn)
	t.scanWords(found, func(w uint64) bool { return w&wordOut != 0 }, foundOut)
	t.recount()
	t.recoverRecords(found)
	t.linkReplies(found)
}

// scanWords drops from the index the words of one sort that are not a published record's, or its second.
func (t *Table) scanWords(found []uint8, sort func(uint64) bool, mark uint8) {
	for b := range t.index {
		for s := range t.index[b] {
			p := &t.index[b][s]
			w := *p & wordMask
			if w == 0 || !sort(w) {
				continue
			}
			r := Ref(w)
			if t.validWord(uint32(b), w) && found[r]&mark == 0 && (mark == foundIn || found[r]&foundIn != 0) {
				found[r] |= mark
				continue
			}
			*p &^= wordMask
		}
	}
}

// validWord tells whether w in bucket b is what the record it names would have there.
func (t *Table) validWord(b uint32, w uint64) bool {
	r := Ref(w)
	if r == 0 || uint32(r) > t.capacity || w&wordTentative != 0 {
		return false
	}
	c := &t.recs[r]
	flags := c.Flags
	if flags&FlagHashed == 0 || (flags&FlagTemplate != 0) != (w&wordTemplate != 0) || c.fam != c.family() {
		return false
	}
	k := c.InKey()
	if w&wordOut != 0 {
		if flags&FlagMethodMask != methodNAT {
			return false
		}
		k = c.OutKey()
	}
	h := t.Hash(&k)
	if tagOf(h) != w&tagMask {
		return false
	}
	_, ok := t.probeOf(t.home(h), b)
	return ok
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

// recount sets every bucket's passed to what the words need.
func (t *Table) recount() {
	passed := make([]uint8, len(t.index))
	for b := range t.index {
		for _, w := range t.index[b] {
			if w &= wordMask; w == 0 {
				continue
			}
			c := &t.recs[Ref(w)]
			k := c.InKey()
			if w&wordOut != 0 {
				k = c.OutKey()
			}
			home := t.home(t.Hash(&k))
			n, _ := t.probeOf(home, uint32(b))
			for i := range n {
				if p := &passed[t.probe(home, i)]; *p < passedMax {
					*p++
				}
			}
		}
	}
	for b := range t.index {
		p := &t.index[b][0]
		atomic.StoreUint64(p, *p&wordMask|uint64(passed[b])<<passedShift)
	}
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
