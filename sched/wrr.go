package sched

import "github.com/fastlb/fastlb/service"

// wrr is weighted round robin: a bar falls from the highest weight to 1 in steps of the greatest common divisor, and in
// each pass the servers whose weight reaches the bar have a turn (spec/schedulers.md 3).
type wrr struct {
	line
	servers []*service.Server
	cursor  int   // cl: index of the server chosen last; -1: the list's head
	bar     int32 // cw
	top     int32 // mw: the highest bar
	step    int32 // di
	_       [12]byte
}

// Blind says that connection counts play no part.
func (*wrr) Blind() {}

func (s *wrr) Update(servers []*service.Server, ev service.Event, _ *service.Server) {
	s.servers, s.cursor = servers, -1
	var high, div int32
	for _, d := range servers {
		if w := d.LoadWeight(); w > 0 {
			high, div = max(high, w), gcd(div, w)
		}
	}
	s.step, s.top = max(div, 1), 0
	if high > 0 {
		s.top = high - (s.step - 1)
	}
	switch {
	case ev == service.Init || s.bar > s.top || s.bar == 0:
		s.bar = s.top
	case s.step > 1:
		s.bar = s.bar/s.step*s.step + 1
	}
}

func (s *wrr) Schedule(*service.Request) *service.Server {
	if s.top == 0 {
		return nil
	}
	last, stop := s.cursor, -1
	lastPass, restarted := false, false
	for at := s.cursor + 1; ; at = 0 {
		for i := at; i < len(s.servers); i++ {
			if d := s.servers[i]; d.LoadWeight() >= s.bar && !d.Overloaded() {
				s.cursor = i
				return d
			}
			if i == stop {
				s.cursor = i
				return nil
			}
		}
		s.bar -= s.step
		if s.bar <= 0 {
			s.bar = s.top
			if lastPass || last < 0 {
				s.cursor = -1
				return nil
			}
			restarted = true
		}
		lastPass = s.bar <= s.step
		if lastPass && restarted && last >= 0 {
			stop = last
		}
	}
}
