package ring

import (
	"fmt"
	"sync/atomic"
)

// Parts is the packet memory of a worker some of whose NICs cannot share a UMEM: one that copies and one that does zero
// copy, or two whose drivers refuse to share. Several UMEMs lie beside each other in one mapping, so that the worker sees
// one memory and never asks to which UMEM a frame belongs. Its ports do (Crossing): a packet that leaves by another UMEM
// than it came by is copied into a frame of that one, and its own frame is free at once.
//
//	the worker's addresses   0 ───────────────┬──────────────── Cap·FrameSize
//	                         │ part 0, a UMEM │ part 1, a UMEM │
//	a UMEM's addresses       0 ──────────     0 ──────────
//
// Frames is where the worker puts frames of any part and gets frames of any part; what is more than the reserve there goes
// back to the parts' own stacks once a round. All belongs to the worker's goroutine, but Copied.
type Parts struct {
	Frames *Frames // the worker's, over the whole

	parts  []part
	copied atomic.Uint64
}

// part is one UMEM's share.
type part struct {
	base   uint64  // of its first frame in the whole
	frames *Frames // the free ones that are not in the reserve; addresses from base on
}

// Reserve is how many free frames are left to the worker for packets that it makes itself. Each part needs as many beyond
// those for its rings: the reserve may be made of the frames of one part alone.
const Reserve = 512

// NewParts divides mem into parts of so many frames, the last one of what is left; at least two.
func NewParts(mem []byte, frames ...int) (*Parts, error) {
	p := &Parts{}
	base, total := 0, len(mem)/FrameSize
	for i, n := range frames {
		if i == len(frames)-1 {
			n = max(n, total-base)
		}
		if n < 1 || n > total-base {
			return nil, fmt.Errorf("divide packet memory: %v frames of %d", frames, total)
		}
		p.parts = append(p.parts, part{uint64(base) * FrameSize, NewFrames(mem[base*FrameSize:][: n*FrameSize : n*FrameSize])})
		base += n
	}
	p.Frames = NewFrames(mem[:base*FrameSize])
	for ok := true; ok; { // each frame is on a part's stack
		_, ok = p.Frames.Get()
	}
	p.level()
	return p, nil
}

// Part is the memory of a part as its UMEM knows it.
func (p *Parts) Part(i int) *Frames { return p.parts[i].frames }

// Free is how many frames are free, wherever they are kept.
func (p *Parts) Free() int {
	n := p.Frames.Len()
	for i := range p.parts {
		n += p.parts[i].frames.Len()
	}
	return n
}

// Copied is how many frames were copied from one part to another; any goroutine may ask.
func (p *Parts) Copied() uint64 { return p.copied.Load() }

// put gives a frame back to the part that it belongs to, by any of the worker's addresses within it.
func (p *Parts) put(addr uint64) {
	i := len(p.parts) - 1
	for p.parts[i].base > addr {
		i--
	}
	p.parts[i].frames.Put(addr - p.parts[i].base)
}

// level brings the worker's own free frames to the reserve: what the worker dropped goes to the parts, and what it took
// comes from the part that has most.
func (p *Parts) level() {
	for p.Frames.Len() > Reserve {
		addr, _ := p.Frames.Get()
		p.put(addr)
	}
	for p.Frames.Len() < Reserve {
		most := &p.parts[0]
		for i := range p.parts {
			if p.parts[i].frames.Len() > most.frames.Len() {
				most = &p.parts[i]
			}
		}
		addr, ok := most.frames.Get()
		if !ok {
			return
		}
		p.Frames.Put(addr + most.base)
	}
}
