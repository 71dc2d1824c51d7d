package sched

import (
	"math/bits"

	"github.com/fastlb/fastlb/service"
)

const (
	mhSize = 4093 // slots, a prime
	mhBits = 6    // weights are shifted down to this many bits
	mhKey1 = 2654435761
	mhKey2 = 2654446892
)

// mh is Maglev hashing: each server claims slots of a prime-sized table in an order of its own, by turns as many as its
// last weight that was not 0, so that quiescing a server moves nobody else (spec/schedulers.md 14). Flag 1 is
// mh-fallback, flag 2 mh-port.
type mh struct {
	slots [mhSize]*service.Server
	work  []mhServer // kept between builds
}

// mhServer is a server while the table is built.
type mhServer struct {
	perm, skip uint32
	turns      int32
}

// Limit is the number of servers that the table takes.
func (s *mh) Limit() int { return mhSize }

// Blind says that connection counts play no part.
func (*mh) Blind() {}

func (s *mh) Update(servers []*service.Server, _ service.Event, _ *service.Server) {
	clear(s.slots[:])
	var div, high int32
	for _, d := range servers {
		if w := d.LoadLastWeight(); w > 0 {
			div, high = gcd(div, w), max(high, w)
		}
	}
	if div == 0 {
		return
	}
	shift := max(0, bits.Len32(uint32(high/div))-mhBits)
	s.work = s.work[:0]
	for _, d := range servers {
		v := uint32(d.Port) + fold(d.Addr, d.SFamily)
		lw := d.LoadLastWeight()
		turns := lw / div >> shift
		if turns == 0 && lw != 0 {
			turns = 1
		}
		s.work = append(s.work, mhServer{siphash13(v, mhKey1) % mhSize, siphash13(v, mhKey2)%(mhSize-1) + 1, turns})
	}
	for filled := 0; ; {
		for i := range s.work {
			w := &s.work[i]
			for range w.turns {
				for s.slots[w.perm] != nil {
					w.perm = (w.perm + w.skip) % mhSize
				}
				s.slots[w.perm] = servers[i]
				if filled++; filled == mhSize {
					return
				}
			}
		}
	}
}

func (s *mh) Schedule(r *service.Request) *service.Server {
	v := clientPort(r) + fold(r.Client, r.Family)
	slot := siphash13(v, mhKey1) % mhSize
	d := s.slots[slot]
	if d == nil {
		return nil
	}
	if d.Usable() {
		return d
	}
	if r.Flags&service.SchedFlag1 == 0 {
		return nil
	}
	for offset := range uint32(mhSize) {
		d := s.slots[siphash13((offset+slot)%mhSize+v, mhKey1)%mhSize]
		if d == nil {
			return nil
		}
		if d.Usable() {
			return d
		}
	}
	return nil
}
