package flow

import "sync/atomic"

// A slot's word, published and removed by compare-and-swap, read by everybody at any time:
//
//	63      56   55        54    53          52  32   31      0
//	+---------+----------+-----+-----------+--------+---------+
//	| passed  | template | out | tentative | tag    | Ref     |
//	+---------+----------+-----+-----------+--------+---------+
//
// Ref 0: the slot is empty. The tag is the hash's low 21 bits, the lowest of them set so that it is never 0. A tentative
// word is an insertion that is not decided yet: look-ups do not see it (insert.go). passed is in slot 0 alone, whatever
// else is there: how many words lie in later buckets because this one was full when they came. A look-up that does not
// find its key goes on to the next bucket only while passed is not 0, so removal needs no tombstones. At 255 passed
// stays there until the table is opened anew, which costs unsuccessful look-ups a line, never rightness.
const (
	refMask       = 1<<32 - 1
	tagMask       = (1<<21 - 1) << 32
	wordTentative = 1 << 53
	wordOut       = 1 << 54
	wordTemplate  = 1 << 55
	passedShift   = 56
	passedOne     = 1 << passedShift
	passedMax     = 255
	wordMask      = passedOne - 1

	// What a look-up compares: In and Out words alike, no templates, nothing tentative.
	matchMask = tagMask | wordTentative | wordTemplate
)

// maxProbes bounds how far from its home bucket a word may lie. With the index at its fullest (66 %) one pair of buckets
// in 25 overflows, into the next ones; of ten million connections one or another then finds 16 buckets in a row full, and
// none 64 (TestFullOfNAT). If it were so, Insert would report a full table.
const maxProbes = 64

func tagOf(h uint64) uint64 { return (h<<32 | 1<<32) & tagMask }

func makeWord(h, kind uint64, r Ref) uint64 { return tagOf(h) | kind | uint64(r) }

// home is the bucket in which the look-up of hash h begins: the top bits, scaled to a number that need not be a power
// of two.
func (t *Table) home(h uint64) uint32 {
	hi, _ := mul64(h, t.buckets)
	return uint32(hi)
}

// probe is the i-th bucket visited from home: home itself, the other of its pair of lines (which hardware likes to
// fetch along), then the following pairs.
func (t *Table) probe(home uint32, i int) uint32 {
	pair := home>>1 + uint32(i)>>1
	if pair >= t.pairs {
		pair -= t.pairs
	}
	return pair<<1 | (home^uint32(i))&1
}

// place is a slot in a probe sequence.
type place struct {
	home  uint32
	probe int
	slot  int
}

func (t *Table) word(at place) *uint64 { return &t.index[t.probe(at.home, at.probe)][at.slot] }

// freePlace is the first empty slot from home at or after probe from; false if there is none.
func (t *Table) freePlace(home uint32, from int) (place, bool) {
	for i := from; i < t.probes; i++ {
		b := &t.index[t.probe(home, i)]
		for s := range b {
			if atomic.LoadUint64(&b[s])&refMask == 0 {
				return place{home, i, s}, true
			}
		}
	}
	return place{}, false
}

// pass adds one to passed of all buckets before at, so that look-ups for a word there come by.
func (t *Table) pass(at place) {
	for i := range at.probe {
		p := &t.index[t.probe(at.home, i)][0]
		for {
			old := atomic.LoadUint64(p)
			if old>>passedShift == passedMax || atomic.CompareAndSwapUint64(p, old, old+passedOne) {
				break
			}
		}
	}
}

// unpass takes back what pass did, after the word at that place is gone.
func (t *Table) unpass(at place) {
	for i := range at.probe {
		p := &t.index[t.probe(at.home, i)][0]
		for {
			old := atomic.LoadUint64(p)
			if old>>passedShift == passedMax || atomic.CompareAndSwapUint64(p, old, old-passedOne) {
				break
			}
		}
	}
}

// swap replaces word old by new at a place, leaving passed alone; false if old is not there (any more).
func (t *Table) swap(at place, old, new uint64) bool {
	p := t.word(at)
	for {
		have := atomic.LoadUint64(p)
		if have&wordMask != old {
			return false
		}
		if atomic.CompareAndSwapUint64(p, have, have&^wordMask|new) {
			return true
		}
	}
}

// put publishes w in the first empty slot of h's probe sequence; false if all are taken.
func (t *Table) put(h, w uint64) (place, bool) {
	home := t.home(h)
	for from := 0; ; {
		at, ok := t.freePlace(home, from)
		if !ok {
			if from == 0 {
				return place{}, false
			}
			from = 0
			continue
		}
		t.pass(at)
		if t.swap(at, 0, w) {
			return at, true
		}
		t.unpass(at)
		from = at.probe
	}
}

// take removes the word w from a place; false if it is gone.
func (t *Table) take(at place, w uint64) bool {
	if !t.swap(at, w, 0) {
		return false
	}
	t.unpass(at)
	return true
}

// takeAll removes every word w from h's probe sequence (an Out word may stand twice for an instant).
func (t *Table) takeAll(h, w uint64) {
	home := t.home(h)
	for i := range t.probes {
		b := &t.index[t.probe(home, i)]
		for s := range b {
			if atomic.LoadUint64(&b[s])&wordMask == w {
				t.take(place{home, i, s}, w)
			}
		}
		if atomic.LoadUint64(&b[0])>>passedShift == 0 {
			return
		}
	}
}
