package flow

import "sync/atomic"

// Walk calls f for every connection and template in order of record number, until it returns false. It is weakly
// consistent: what is there from beginning to end is seen once, what comes or goes meanwhile perhaps. The Ref and record
// are good during f alone. f must not block: no removed record is reused while a chunk of them is walked. For a
// listing that may be read slowly use Copy.
func (t *Table) Walk(f func(Ref, *Conn) bool) {
	for from := Ref(1); from != 0; {
		from = t.walkChunk(from, f)
	}
}

// walkChunk walks up to 1024 records; it returns where to go on, or 0.
func (t *Table) walkChunk(from Ref, f func(Ref, *Conn) bool) Ref {
	t.enter()
	defer t.leave()
	used := Ref(t.pool.used())
	for r := from; r <= used; r++ {
		if r == from+1024 {
			return r
		}
		if t.published(r) && !f(r, &t.recs[r]) {
			return 0
		}
	}
	return 0
}

// published tells whether a record is in the table, for somebody who is in an epoch.
func (t *Table) published(r Ref) bool {
	v := atomic.LoadUint32(&t.sweep[r])
	return v != 0 && v&link == 0 && t.recs[r].LoadFlags()&FlagHashed != 0
}

// Entry is a connection's copy.
type Entry struct {
	Ref  Ref // for display; by now it may be another connection's
	Conn Conn
}

// Copy fills dst with copies of connections from record number from on (1 to begin), and returns how many and where to
// go on, 0 at the end. Like Walk it is weakly consistent, and it holds nothing up between calls.
func (t *Table) Copy(from Ref, dst []Entry) (n int, next Ref) {
	t.enter()
	defer t.leave()
	used := Ref(t.pool.used())
	for r := max(from, 1); r <= used; r++ {
		if n == len(dst) {
			return n, r
		}
		if !t.published(r) {
			continue
		}
		dst[n].Ref = r
		src, to := words(&t.recs[r]), words(&dst[n].Conn)
		for i := range src {
			to[i] = atomic.LoadUint64(&src[i])
		}
		n++
	}
	return n, 0
}
