package service

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// twin is a server's counts and flag by the words of spec/schedulers.md 1.4.
type twin struct {
	classic                      bool
	x, l, active, inactive, tmpl int
	over                         bool
}

func (w *twin) bound(template bool) {
	n := w.active + w.inactive
	if w.classic && w.x != 0 && n >= w.x || !w.classic && !template && n == w.x {
		w.over = true
	}
}

func (w *twin) unbound(template bool) {
	n := w.active + w.inactive
	if w.classic {
		switch {
		case w.l != 0:
			w.over = w.over && n >= w.l
		case w.x != 0:
			w.over = w.over && n*4 >= w.x*3
		default:
			w.over = false
		}
	} else if !template {
		w.reconsider(n)
	}
}

func (w *twin) reconsider(n int) {
	low := w.l
	if low == 0 {
		low = w.x - w.x/4
	}
	if n < low || w.x == 0 {
		w.over = false
	}
}

func (w *twin) edit(x, l int) {
	if w.classic {
		if x == 0 || x > w.x {
			w.over = false
		}
		w.x, w.l = x, l
		return
	}
	w.x, w.l = x, l
	if n := w.active + w.inactive; x != 0 && n >= x {
		w.over = true
	} else {
		w.reconsider(n)
	}
}

func (w *twin) overhead() int64 {
	if w.classic {
		return int64(w.active*256 + w.inactive)
	}
	return int64(w.active*256 + w.active + w.inactive)
}

// TestThresholds compares random lives of a server with the twin, under both rules.
func TestThresholds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 400 {
		w := twin{classic: round%2 == 0}
		s := &Server{}
		if w.classic {
			s.setFlags(ServerClassic, 0)
		}
		for step := range 200 {
			switch op := r.IntN(8); {
			case op == 0:
				x := r.IntN(12)
				l := r.IntN(x + 1)
				w.edit(x, l)
				s.limit(uint32(x), uint32(l))
			case op <= 2:
				w.inactive++
				w.bound(false)
				s.Bind(false)
			case op == 3:
				w.tmpl++
				w.bound(true)
				s.Bind(true)
			case op == 4 && w.inactive > 0:
				w.inactive--
				w.active++
				s.Activate()
			case op == 5 && w.active > 0:
				w.inactive++
				w.active--
				s.Deactivate()
			case op == 6 && w.tmpl > 0:
				w.tmpl--
				w.unbound(true)
				s.Unbind(true, false)
			case op == 7 && w.active > 0:
				w.active--
				w.unbound(false)
				s.Unbind(false, true)
			case op == 7 && w.inactive > 0:
				w.inactive--
				w.unbound(false)
				s.Unbind(false, false)
			}
			a, i, p := s.Counts()
			if int(a) != w.active || int(i) != w.inactive || int(p) != w.tmpl || s.Overloaded() != w.over || s.Overhead() != w.overhead() {
				t.Fatalf("round %d step %d: %+v, server %d %d %d overloaded %v", round, step, w, a, i, p, s.Overloaded())
			}
		}
	}
}

// TestCountsConcurrently binds and unbinds from several goroutines: what remains is nothing, and no overload.
func TestCountsConcurrently(t *testing.T) {
	s := &Server{}
	s.limit(3, 0)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				s.Bind(false)
				s.Activate()
				s.Overhead()
				s.Deactivate()
				s.Unbind(false, false)
			}
		})
	}
	wg.Wait()
	if a, i, p := s.Counts(); a|i|p != 0 || s.Overloaded() {
		t.Errorf("left: %d %d %d overloaded %v", a, i, p, s.Overloaded())
	}
}

func TestCountsDoNotAllocate(t *testing.T) {
	s := &Server{}
	s.limit(2, 1)
	if n := testing.AllocsPerRun(100, func() {
		s.Bind(false)
		s.Activate()
		s.Bind(true)
		s.Unbind(true, false)
		s.Unbind(false, true)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
