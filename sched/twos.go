package sched

import (
	"math/bits"
	"sync/atomic"

	"github.com/fastlb/fastlb/service"
)

// twos is power of two choices: two draws by weight, of which the less loaded is taken (spec/schedulers.md 15).
type twos struct {
	list
	rand func() uint64
}

func (s *twos) Schedule(*service.Request) *service.Server {
	var total int64
	for _, d := range s.servers {
		if w := d.LoadWeight(); w > 0 && !d.Overloaded() {
			total += int64(w)
		}
	}
	if total == 0 {
		return nil
	}
	r1, r2 := s.draw(total), s.draw(total)
	var c1, c2 *service.Server
	for _, d := range s.servers {
		w := int64(d.LoadWeight())
		if w <= 0 || d.Overloaded() {
			continue
		}
		r1 -= w
		r2 -= w
		if r1 <= 0 && c1 == nil {
			c1 = d
		}
		if r2 <= 0 && c2 == nil {
			c2 = d
		}
		if c1 != nil && c2 != nil {
			break
		}
	}
	if c1 == nil || c2 == nil { // a weight was changed between the two walks
		if c1 == nil {
			return c2
		}
		return c1
	}
	if int64(c2.LoadWeight())*c1.Overhead() > int64(c1.LoadWeight())*c2.Overhead() {
		return c2
	}
	return c1
}

// draw is a uniform random number from 0 to total, both included.
func (s *twos) draw(total int64) int64 {
	hi, _ := bits.Mul64(s.rand(), uint64(total)+1)
	return int64(hi)
}

// Fixed returns a source whose sequence is the same in every run: SplitMix64 from 0. Any number of goroutines may draw.
func Fixed() func() uint64 {
	var state atomic.Uint64
	return func() uint64 {
		z := state.Add(0x9e3779b97f4a7c15)
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
}
