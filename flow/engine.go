package flow

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// What a persistence engine goes by (SIP: the Call-ID) is kept in side records: records of the table that stand in no
// index, chained from their template's Extra. They come from the same free lists as connections, wait out the same grace
// period when their template goes, outlive the process with the table, and count against its capacity.
//
//	0      4      5      8                                        128
//	+------+------+------+----------------------------------------+
//	| next | len  |  -   | data                                   |
//	+------+------+------+----------------------------------------+
//
// len is the length of what this record and those after it hold.

// MaxEngineData is the greatest length of what an engine goes by, in bytes.
const MaxEngineData = 255

const sideBytes = recordSize - 8

// SetEngineData keeps data, of 1 to MaxEngineData bytes, with a template that the worker has from Alloc and has not
// inserted yet. It goes when the template does. False: the table is full, and the template is without.
func (t *Table) SetEngineData(worker int, r Ref, data []byte) bool {
	w := &t.local[worker]
	var next Ref
	n := (len(data) + sideBytes - 1) / sideBytes
	for i := n - 1; i >= 0; i-- {
		side := t.takeFree(w)
		if side == 0 {
			t.eachSide(next, func(s Ref) { t.putFree(w, s) })
			return false
		}
		rest := data[i*sideBytes:]
		to := words(&t.recs[side])
		to[0] = uint64(next) | uint64(len(rest))<<32
		var b [8]byte
		for j := range to[1:] {
			b = [8]byte{}
			if j*8 < len(rest) {
				copy(b[:], rest[j*8:])
			}
			to[1+j] = binary.LittleEndian.Uint64(b[:])
		}
		next = side
	}
	t.recs[r].Extra = uint32(next)
	return true
}

// side is the first side record of a template, 0 if it has none.
func (t *Table) side(r Ref) Ref {
	c := &t.recs[r]
	if c.LoadFlags()&FlagTemplate == 0 {
		return 0
	}
	return Ref(c.Extra)
}

// eachSide calls f for a chain's side records; f may free its own.
func (t *Table) eachSide(side Ref, f func(Ref)) {
	for side != 0 {
		next := Ref(words(&t.recs[side])[0])
		f(side)
		side = next
	}
}

// EngineDataIs tells whether a template that the worker found in its round has this data, of MaxEngineData bytes at most.
func (t *Table) EngineDataIs(r Ref, data []byte) bool {
	var have [MaxEngineData + sideBytes]byte
	n := t.readSide(t.side(r), have[:])
	return n == len(data) && string(have[:n]) == string(data)
}

// readSide copies a chain's data.
func (t *Table) readSide(side Ref, dst []byte) (n int) {
	for n < MaxEngineData && side != 0 {
		w := words(&t.recs[side])
		left := int(uint8(w[0] >> 32))
		var b [sideBytes]byte
		for j := range w[1:] {
			binary.LittleEndian.PutUint64(b[j*8:], w[1+j])
		}
		n += copy(dst[n:], b[:min(left, sideBytes)])
		side = Ref(w[0])
	}
	return n
}

// AppendEngineData appends to dst what the engine goes by in a template that Copy returned, nothing if the template is
// gone by now.
func (t *Table) AppendEngineData(dst []byte, e *Entry) []byte {
	if e.Conn.Extra == 0 || e.Conn.Flags&FlagTemplate == 0 {
		return dst
	}
	t.enter()
	defer t.leave()
	if !t.published(e.Ref) || atomic.LoadUint32(&t.recs[e.Ref].Extra) != e.Conn.Extra {
		return dst
	}
	var have [MaxEngineData + sideBytes]byte
	n := t.readSide(t.side(e.Ref), have[:])
	return append(dst, have[:n]...)
}

// HashEngineData is a hash under the table's secret of what an engine goes by.
func (t *Table) HashEngineData(data []byte) uint64 {
	h := t.secrets[5] ^ uint64(len(data))
	for len(data) > 0 {
		var b [16]byte
		n := copy(b[:], data)
		data = data[n:]
		x, y := bits.Mul64(binary.LittleEndian.Uint64(b[:])^t.secrets[0]^h, binary.LittleEndian.Uint64(b[8:])^t.secrets[1])
		h = x ^ y
	}
	return h
}

// retireSides hands a template's side records to the grace period.
func (t *Table) retireSides(w *workerState, r Ref) {
	t.eachSide(t.side(r), func(s Ref) { t.retire(w, s) })
}

// foundSide marks in recover's list a record that holds an engine's data.
const foundSide = 4

// findSides marks the side records of the templates that live. A template whose chain leads astray is dropped: its memory
// was damaged.
func (t *Table) findSides(found []uint8) {
	for r := range found {
		if found[r]&foundIn == 0 || t.side(Ref(r)) == 0 {
			continue
		}
		if !t.soundChain(t.side(Ref(r)), found) {
			k := t.recs[r].InKey()
			t.unlinkWord(Ref(r), t.Hash(&k), wordTemplate)
			found[r] = 0
			continue
		}
		t.eachSide(t.side(Ref(r)), func(s Ref) { found[s] = foundSide })
	}
}

// soundChain tells whether a chain holds what SetEngineData wrote, in records that are nobody else's.
func (t *Table) soundChain(side Ref, found []uint8) bool {
	for left := -1; ; {
		if side == 0 || uint32(side) > t.capacity || found[side] != 0 {
			return false
		}
		w := words(&t.recs[side])[0]
		n := int(uint8(w >> 32))
		if n == 0 || left >= 0 && n != left || (n > sideBytes) != (Ref(w) != 0) {
			return false
		}
		if side, left = Ref(w), n-sideBytes; side == 0 {
			return true
		}
	}
}
