package flow

import (
	"sync"
	"sync/atomic"
)

// A removed record may still be looked at by workers that found it before. It is reused after a grace period: the epoch
// goes up by one when every worker that is not idle has begun a round in the present one, and a record retired in epoch e
// is free in e + 2. For then the epoch went from e + 1 to e + 2, so every worker began a round after the record was
// unlinked. Nothing waits for it: BeginRound looks whether it is time.

// idle as a worker's seen epoch: it holds no Ref, and nobody waits for it.
const idle = ^uint64(0)

// workerState is what one worker alone writes, but for seen, which the others read.
type workerState struct {
	_           [64]byte
	seen        atomic.Uint64 // epoch in which the present round began; idle
	_           [56]byte
	added       atomic.Int64 // load + store: one writer, read by Len
	removed     atomic.Int64
	loaded      magazine
	spare       magazine
	limbo       [3]limbo          // by epoch modulo 3
	adopted     limbo             // from idle workers; its tail is unknown
	hand        uint32            // next record that Sweep looks at
	pending     Ref               // InsertDeferred: its OutKey is not published yet; 0: none
	pendingHash uint64            // of that OutKey
	probe       [sweepGroup]Probe // Sweep's and Insert's scratch
	_           [64]byte
}

// limbo is a chain, through the sweep array, of records removed in one epoch.
type limbo struct {
	head, tail Ref
	stamp      uint64
}

// readerState is Walk's and Copy's place among the workers.
type readerState struct {
	mu   sync.Mutex
	seen atomic.Uint64
	_    [64]byte
}

// BeginRound says that the worker holds no Ref, pointer or Probe result of the table. Called once a round by workers,
// and by the control path before it works on the table.
//
//fastlb:hot
func (t *Table) BeginRound(worker int) {
	w := &t.local[worker]
	g := t.epoch.Load()
	if w.seen.Load() != g {
		w.seen.Store(g)
	}
	if w.limbo[0].head|w.limbo[1].head|w.limbo[2].head|w.adopted.head != 0 || t.orphan.Load() != 0 {
		t.collect(w)
	}
}

// GoIdle says that the worker holds nothing of the table and will not until its next BeginRound; others do not wait for
// it. What it removed is left to them.
func (t *Table) GoIdle(worker int) {
	w := &t.local[worker]
	t.flush(w, t.epoch.Load())
	for i := range w.limbo {
		t.abandon(&w.limbo[i])
	}
	t.abandon(&w.adopted)
	w.seen.Store(idle)
}

// retire hands a record that was just unlinked (or was seen by others as a tentative one) to the grace period.
func (t *Table) retire(w *workerState, r Ref) {
	g := t.epoch.Load()
	l := &w.limbo[g%3]
	if l.head != 0 && l.stamp != g {
		t.release(w, l) // three epochs old
	}
	if l.head == 0 {
		l.tail, l.stamp = r, g
	}
	atomic.StoreUint32(&t.sweep[r], link|uint32(l.head))
	l.head = r
}

// collect tries to end the epoch, and frees what may be freed.
func (t *Table) collect(w *workerState) {
	g := t.epoch.Load()
	if t.allSeen(g) && t.epoch.CompareAndSwap(g, g+1) {
		g++
	}
	t.flush(w, g)
	if w.adopted.head == 0 && t.orphan.Load() != 0 {
		w.adopted = limbo{head: Ref(t.orphan.Swap(0)), stamp: t.epoch.Load()}
	}
}

func (t *Table) allSeen(g uint64) bool {
	for i := range t.local {
		if s := t.local[i].seen.Load(); s != g && s != idle {
			return false
		}
	}
	s := t.reader.seen.Load()
	return s == g || s == idle
}

// flush frees the limbo lists whose grace period is over in epoch g.
func (t *Table) flush(w *workerState, g uint64) {
	for i := range w.limbo {
		if l := &w.limbo[i]; l.head != 0 && l.stamp+2 <= g {
			t.release(w, l)
		}
	}
	if l := &w.adopted; l.head != 0 && l.stamp+2 <= g {
		t.release(w, l)
	}
}

func (t *Table) release(w *workerState, l *limbo) {
	for r := l.head; r != 0; {
		next := Ref(atomic.LoadUint32(&t.sweep[r]) &^ link)
		t.putFree(w, r)
		r = next
	}
	*l = limbo{}
}

// abandon leaves a limbo list to whichever worker begins a round next. Its grace period begins anew then.
func (t *Table) abandon(l *limbo) {
	if l.head == 0 {
		return
	}
	tail := l.tail
	if tail == 0 {
		for tail = l.head; ; {
			next := Ref(atomic.LoadUint32(&t.sweep[tail]) &^ link)
			if next == 0 {
				break
			}
			tail = next
		}
	}
	for {
		old := t.orphan.Load()
		atomic.StoreUint32(&t.sweep[tail], link|old)
		if t.orphan.CompareAndSwap(old, uint32(l.head)) {
			break
		}
	}
	*l = limbo{}
}

// enter and leave bracket a reader that is no worker.
func (t *Table) enter() {
	t.reader.mu.Lock()
	t.reader.seen.Store(t.epoch.Load())
}

func (t *Table) leave() {
	t.reader.seen.Store(idle)
	t.reader.mu.Unlock()
}
