package service

import (
	"math/bits"

	"github.com/fastlb/fastlb/packet"
)

// key is what the snapshot's sets are looked up by; unused parts are 0.
type key struct {
	addr   packet.Addr
	mark   uint32
	port   uint16
	proto  uint8
	family uint8
}

//fastlb:hot
func (k *key) hash() uint64 {
	h := (k.addr.Hi ^ 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	h ^= k.addr.Lo + uint64(k.mark)<<32 + uint64(k.port)<<16 + uint64(k.proto)<<8 + uint64(k.family)
	hi, lo := bits.Mul64(h, 0x94d049bb133111eb)
	return hi ^ lo
}

// index is a hash table with open addressing, built once and then only read: no allocation and no pointer chase in a
// look-up. Keys are the operator's, so the hash needs no secret.
type index struct {
	cells []cell // a power of two, at most half full; nil: empty
	n     int
}

type cell struct {
	key
	value int32 // 0: cell is empty; else the value given
}

// put adds a key unless it is there; value must not be 0.
func (x *index) put(k key, value int32) {
	if 2*(x.n+1) > len(x.cells) {
		old := x.cells
		x.cells, x.n = make([]cell, max(8, 2*len(old))), 0
		for i := range old {
			if old[i].value != 0 {
				x.put(old[i].key, old[i].value)
			}
		}
	}
	c := x.find(&k)
	if c.value == 0 {
		*c = cell{k, value}
		x.n++
	}
}

// get returns the key's value, or 0.
//
//fastlb:hot
func (x *index) get(k *key) int32 {
	if len(x.cells) == 0 {
		return 0
	}
	return x.find(k).value
}

// find returns the key's cell or the empty one where it would go.
//
//fastlb:hot
func (x *index) find(k *key) *cell {
	mask := uint64(len(x.cells) - 1)
	for i := k.hash() & mask; ; i = (i + 1) & mask {
		if c := &x.cells[i]; c.value == 0 || c.key == *k {
			return c
		}
	}
}
