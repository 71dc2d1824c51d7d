package flow

import "sync/atomic"

// closed in NControl says that the record is being removed: nothing can be attached to it any more.
const closed = -1 << 30

// Remove unlinks a connection or template. It returns false and does nothing if somebody else removed it, or if other
// connections hang on it (NControl > 0, spec/connections.md 2.6: such a one is never freed). The record stays readable
// until every worker has passed a round, and only then is given to another connection. What the record refers to
// (its controller, its server's counts) is the caller's to release, and since one caller alone gets true, once.
func (t *Table) Remove(worker int, r Ref) bool {
	c := &t.recs[r]
	if !atomic.CompareAndSwapInt32(&c.NControl, 0, closed) {
		return false
	}
	var flags uint32
	for {
		flags = c.LoadFlags()
		if flags&FlagHashed == 0 {
			return false
		}
		if c.CASFlags(flags, flags&^FlagHashed) {
			break
		}
	}
	t.unlink(r, flags)
	w := &t.local[worker]
	w.removed.Store(w.removed.Load() + 1)
	if flags&FlagNoCPort != 0 {
		t.noPort.Add(-1)
	}
	if t.due != nil {
		t.due.remove(r)
	}
	if flags&FlagTemplate != 0 {
		t.retireSides(w, r)
	}
	t.retire(w, r)
	return true
}

// unlink removes the record's words from the index.
func (t *Table) unlink(r Ref, flags uint32) {
	c := &t.recs[r]
	in := c.InKey()
	if flags&FlagTemplate != 0 {
		t.unlinkWord(r, t.Hash(&in), wordTemplate)
		return
	}
	if flags&FlagMethodMask == methodNAT {
		out := c.OutKey()
		t.unlinkWord(r, t.Hash(&out), wordOut)
	}
	t.unlinkWord(r, t.Hash(&in), 0)
}

// Attach makes child hang on parent (a template, an FTP control connection): parent cannot be removed while it does.
// It returns false if parent is being removed; child then has no controller. Child must be the caller's: not inserted
// yet, or without controller.
func (t *Table) Attach(child, parent Ref) bool {
	p := &t.recs[parent].NControl
	for {
		n := atomic.LoadInt32(p)
		if n < 0 || t.recs[parent].LoadFlags()&FlagHashed == 0 {
			return false
		}
		if atomic.CompareAndSwapInt32(p, n, n+1) {
			atomic.StoreUint32((*uint32)(&t.recs[child].Control), uint32(parent))
			atomic.OrUint32(&t.recs[child].Flags, FlagControlled)
			return true
		}
	}
}

// Detach releases child's controller, and returns it with the number of connections that still hang on it; 0, 0 if child
// had none. For whoever Remove told true about child, or who gives up before Insert.
func (t *Table) Detach(child Ref) (parent Ref, left int32) {
	parent = Ref(atomic.SwapUint32((*uint32)(&t.recs[child].Control), 0))
	if parent == 0 {
		return 0, 0
	}
	return parent, atomic.AddInt32(&t.recs[parent].NControl, -1)
}
