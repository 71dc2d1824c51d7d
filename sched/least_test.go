package sched

import (
	"math/big"
	"testing"

	"github.com/fastlb/fastlb/service"
)

// lowest is the twin of the schedulers that look for the smallest ratio of something to the weight: all ratios as
// fractions, the first of the smallest.
func lowest(of func(*service.Server) int64) pure {
	return func(list []*service.Server, _ *service.Request) (best *service.Server) {
		var least *big.Rat
		for _, d := range list {
			if d.Weight <= 0 || d.Overloaded() {
				continue
			}
			if r := big.NewRat(of(d), int64(d.Weight)); best == nil || r.Cmp(least) < 0 {
				best, least = d, r
			}
		}
		return best
	}
}

func TestLC(t *testing.T) {
	oneChoice(t, "lc", map[string][][]load{
		"C": {{{2, 10, 1}, {1, 300, 1}, {2, 9, 1}}},
		"A": {{{0, 0, 1}, {0, 0, 5}}, {{1, 0, 1}, {0, 256, 1}}},
		"B": {{{0, 0, 0}, {9, 9, 1}}},
	})
	list := rows([]load{{1, 0, 1}, {0, 256, 1}}) // the rule of 2026 makes the tie 257 to 256
	list[0].Flags, list[1].Flags = service.ServerAvailable, service.ServerAvailable
	if got := picks(start(t, "lc", list), 1); got != "B" {
		t.Errorf("the rule of 2026 chooses %s", got)
	}
	compare(t, "lc", func() model {
		return pure(func(list []*service.Server, r *service.Request) (best *service.Server) {
			for _, d := range list {
				if d.Weight > 0 && !d.Overloaded() && (best == nil || d.Overhead() < best.Overhead()) {
					best = d
				}
			}
			return best
		})
	})
}

func TestWLC(t *testing.T) {
	oneChoice(t, "wlc", map[string][][]load{
		"A": {{{0, 0, 1}, {0, 0, 100}}, {{1, 0, 1}, {2, 0, 2}}},
		"B": {{{2, 0, 1}, {4, 0, 3}}, {{1, 1, 1}, {2, 0, 2}}, {{0, 10, 1}, {0, 19, 2}}},
		"C": {{{5, 0, 0}, {9, 0, 1}, {17, 0, 2}}},
	})
	compare(t, "wlc", func() model { return lowest((*service.Server).Overhead) })
}

func TestSED(t *testing.T) {
	oneChoice(t, "sed", map[string][][]load{
		"C": {{{0, 0, 1}, {0, 0, 2}, {0, 0, 3}}},
		"B": {{{0, 0, 1}, {0, 0, 2}, {1, 0, 3}}},
		"A": {{{0, 0, 1}, {1, 0, 2}, {2, 0, 3}}},
	})
	s, got := start(t, "sed", weights(1, 2, 3)), ""
	for range 6 {
		d := s.Schedule(&service.Request{})
		d.Active++
		got += letter(d)
	}
	if got != "CBCABC" {
		t.Errorf("connections that never end: %s", got)
	}
	compare(t, "sed", func() model { return lowest(func(d *service.Server) int64 { return int64(d.Active) + 1 }) })
}

func TestNQ(t *testing.T) {
	oneChoice(t, "nq", map[string][][]load{
		"A": {{{3, 0, 10}, {1, 0, 1}, {2, 0, 4}}},
		"B": {{{3, 0, 10}, {0, 0, 1}, {0, 0, 100}}, {{0, 0, 0}, {1, 0, 1}}},
	})
	delay := lowest(func(d *service.Server) int64 { return int64(d.Active) + 1 })
	compare(t, "nq", func() model {
		return pure(func(list []*service.Server, r *service.Request) *service.Server {
			for _, d := range list {
				if d.Weight > 0 && !d.Overloaded() && d.Active == 0 {
					return d
				}
			}
			return delay(list, r)
		})
	})
}

func TestFO(t *testing.T) {
	list := weights(10, 20, 20)
	s := start(t, "fo", list)
	if got := picks(s, 2); got != "BB" {
		t.Errorf("chooses %s", got)
	}
	list[1].Flags |= service.ServerOverload
	if got := picks(s, 2); got != "CC" {
		t.Errorf("B overloaded: %s", got)
	}
	compare(t, "fo", func() model { return heaviest(func(*service.Server) bool { return true }) })
}

func TestOVF(t *testing.T) {
	oneChoice(t, "ovf", map[string][][]load{
		"A": {{{10, 0, 10}, {0, 0, 5}}}, "B": {{{11, 0, 10}, {0, 0, 5}}}, "-": {{{11, 0, 10}, {6, 0, 5}}},
	})
	compare(t, "ovf", func() model { return heaviest(func(d *service.Server) bool { return d.Active <= d.Weight }) })
}

// heaviest is the twin of fo and ovf.
func heaviest(fits func(*service.Server) bool) pure {
	return func(list []*service.Server, _ *service.Request) (best *service.Server) {
		for _, d := range list {
			if d.Weight > 0 && !d.Overloaded() && fits(d) && (best == nil || d.Weight > best.Weight) {
				best = d
			}
		}
		return best
	}
}
