package sched

import (
	"math"
	"math/bits"
	"testing"

	"github.com/fastlb/fastlb/service"
)

// drawn makes a random source that lets draws from 0 to total come out as listed.
func drawn(total uint64, r ...uint64) func() uint64 {
	return func() uint64 {
		v, _ := bits.Div64(r[0], total, total+1) // the largest number that scales down to r
		r = r[1:]
		return v
	}
}

func TestTwos(t *testing.T) {
	for _, c := range []struct {
		r1, r2 uint64
		want   string
	}{{1, 3, "B"}, {3, 1, "B"}, {6, 2, "B"}, {0, 0, "A"}} {
		list := rows([]load{{1, 0, 1}, {1, 0, 2}, {4, 0, 3}})
		s := &twos{rand: drawn(6, c.r1, c.r2)}
		s.Update(list, service.Init, nil)
		if got := picks(s, 1); got != c.want {
			t.Errorf("draws %d and %d: %s, want %s", c.r1, c.r2, got, c.want)
		}
	}
	for r, want := range []string{"A", "A", "B", "B", "C", "C", "C"} {
		s := &twos{rand: drawn(6, uint64(r), uint64(r))}
		s.Update(weights(1, 2, 3), service.Init, nil)
		if got := picks(s, 1); got != want {
			t.Errorf("draw %d: %s, want %s", r, got, want)
		}
	}
	compare(t, "twos", func() model { return &twosTwin{rand: Fixed()} })
}

// Idle servers are chosen by their weights: both draws fall on one, or the first wins.
func TestTwosDistribution(t *testing.T) {
	s := start(t, "twos", weights(1, 2, 3))
	counts := map[string]float64{}
	const n = 70000
	for range n {
		counts[picks(s, 1)]++
	}
	for who, p := range map[string]float64{"A": 2. / 7, "B": 2. / 7, "C": 3. / 7} {
		if d := math.Abs(counts[who]/n - p); d > 0.01 {
			t.Errorf("%s has %v of the choices, want %v", who, counts[who]/n, p)
		}
	}
}

// twosTwin writes a lot for each unit of weight, and one more for the first server.
type twosTwin struct{ rand func() uint64 }

func (m *twosTwin) changed([]*service.Server, service.Event, *service.Server) {}

func (m *twosTwin) pick(list []*service.Server, _ *service.Request) *service.Server {
	var lots []*service.Server
	for _, d := range list {
		if d.Weight <= 0 || d.Overloaded() {
			continue
		}
		if lots == nil {
			lots = append(lots, d)
		}
		for range d.Weight {
			lots = append(lots, d)
		}
	}
	if lots == nil {
		return nil
	}
	draw := func() *service.Server {
		hi, _ := bits.Mul64(m.rand(), uint64(len(lots)))
		return lots[hi]
	}
	a, b := draw(), draw()
	if float64(a.Overhead())/float64(a.Weight) > float64(b.Overhead())/float64(b.Weight) {
		return b
	}
	return a
}
