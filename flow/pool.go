package flow

import "sync/atomic"

// Free records are handed out in batches, so that workers meet rarely: each has two batches of its own (Bonwick's
// magazines), and the pool holds the rest. Free records are linked through their words of the sweep array, not through
// the records, so that giving and taking touches sixteen neighbours a cache line.

// link marks a word of the sweep array as the next free record's number instead of a deadline.
const link = 1 << 31

// magazine is a chain of n free records.
type magazine struct {
	head Ref
	n    uint32
}

// pool is a lock-free stack of magazines, and the records that were never used yet. A stack's top is a node's number + 1
// and, in the upper half, a count that makes every change visible to compare-and-swap.
type pool struct {
	_     [64]byte
	full  atomic.Uint64 // nodes with a magazine
	_     [56]byte
	spare atomic.Uint64 // nodes without
	_     [56]byte
	fresh atomic.Uint32 // the first record that was never used
	_     [60]byte
	nodes []poolNode
	limit uint32 // records are 1 … limit
	batch uint32
}

type poolNode struct {
	next atomic.Uint32 // number + 1 of the node below
	magazine
}

func (p *pool) init(capacity, batch uint32, workers int, fresh uint32) {
	p.limit, p.batch = capacity, batch
	p.nodes = make([]poolNode, capacity/batch+uint32(workers)*2+2)
	for i := range p.nodes {
		p.pushNode(&p.spare, uint32(i))
	}
	p.fresh.Store(fresh)
}

func (p *pool) pushNode(top *atomic.Uint64, i uint32) {
	for {
		old := top.Load()
		p.nodes[i].next.Store(uint32(old))
		if top.CompareAndSwap(old, (old>>32+1)<<32|uint64(i+1)) {
			return
		}
	}
}

func (p *pool) popNode(top *atomic.Uint64) (uint32, bool) {
	for {
		old := top.Load()
		if uint32(old) == 0 {
			return 0, false
		}
		i := uint32(old) - 1
		if top.CompareAndSwap(old, (old>>32+1)<<32|uint64(p.nodes[i].next.Load())) {
			return i, true
		}
	}
}

// push gives the pool a magazine; false if there is no node for it (which more than half-empty magazines would take).
func (p *pool) push(m magazine) bool {
	i, ok := p.popNode(&p.spare)
	if !ok {
		return false
	}
	p.nodes[i].magazine = m
	p.pushNode(&p.full, i)
	return true
}

func (p *pool) pop() (magazine, bool) {
	i, ok := p.popNode(&p.full)
	if !ok {
		return magazine{}, false
	}
	m := p.nodes[i].magazine
	p.pushNode(&p.spare, i)
	return m, true
}

// takeFresh returns the first of n records that were never used.
func (p *pool) takeFresh() (first Ref, n uint32) {
	for {
		f := p.fresh.Load()
		if f > p.limit {
			return 0, 0
		}
		n = min(p.batch, p.limit-f+1)
		if p.fresh.CompareAndSwap(f, f+n) {
			return Ref(f), n
		}
	}
}

// used is the greatest record number that was ever used.
func (p *pool) used() uint32 { return p.fresh.Load() - 1 }

// takeFree takes a record from the worker's magazines, the pool, or what was never used; 0 if all are in use.
func (t *Table) takeFree(w *workerState) Ref {
	if w.loaded.n == 0 {
		if w.spare.n > 0 {
			w.loaded, w.spare = w.spare, w.loaded
		} else if !t.refill(w) {
			return 0
		}
	}
	r := w.loaded.head
	w.loaded.head = Ref(atomic.LoadUint32(&t.sweep[r]) &^ link)
	w.loaded.n--
	atomic.StoreUint32(&t.sweep[r], 0)
	return r
}

func (t *Table) refill(w *workerState) bool {
	if m, ok := t.pool.pop(); ok {
		w.loaded = m
		return true
	}
	if first, n := t.pool.takeFresh(); n > 0 {
		for i := range n - 1 {
			atomic.StoreUint32(&t.sweep[uint32(first)+i], link|(uint32(first)+i+1))
		}
		atomic.StoreUint32(&t.sweep[uint32(first)+n-1], link)
		w.loaded = magazine{first, n}
		return true
	}
	t.collect(w)
	if w.loaded.n == 0 {
		w.loaded, w.spare = w.spare, w.loaded
	}
	return w.loaded.n > 0
}

// putFree gives a record back that nobody can see any more.
func (t *Table) putFree(w *workerState, r Ref) {
	if w.loaded.n >= t.batch {
		if w.spare.n == 0 || t.pool.push(w.spare) {
			w.spare, w.loaded = w.loaded, magazine{}
		}
	}
	atomic.StoreUint32(&t.sweep[r], link|uint32(w.loaded.head))
	w.loaded.head = r
	w.loaded.n++
}
