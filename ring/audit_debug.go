//go:build fastlb_debug

package ring

import "fmt"

// audit knows the owner of every frame and panics when a frame moves from where it is not.
type audit struct{ owner []owner }

func newAudit(n int) audit { return audit{make([]owner, n)} }

func (a audit) move(addr uint64, from, to owner) {
	i := addr / FrameSize
	if i >= uint64(len(a.owner)) {
		panic(fmt.Sprintf("ring: address %#x is outside the UMEM of %d frames", addr, len(a.owner)))
	}
	if a.owner[i] != from {
		panic(fmt.Sprintf("ring: frame %d moves from %v to %v but belongs to %v", i, from, to, a.owner[i]))
	}
	a.owner[i] = to
}

func (a audit) moveDescs(d []Desc, from, to owner) {
	for i := range d {
		a.move(d[i].Addr, from, to)
	}
}
