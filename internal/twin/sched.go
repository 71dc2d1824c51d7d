package twin

import "net/netip"

// start makes the scheduler's state anew (service made, or its scheduler changed).
func (s *service) start() {
	s.rr, s.wrr = nil, -1
	s.weights()
	s.bar = s.max
	s.table()
}

// update follows an added, removed or edited server.
func (s *service) update() {
	s.wrr = -1
	s.weights()
	switch {
	case s.bar > s.max || s.bar == 0:
		s.bar = s.max
	case s.step > 1:
		s.bar = s.bar/s.step*s.step + 1
	}
	s.table()
}

// weights computes wrr's step (the greatest common divisor of the weights, else 1) and its highest bar.
func (s *service) weights() {
	s.step, s.max = 0, 0
	for _, d := range s.servers {
		if d.weight > 0 {
			s.step = gcd(s.step, d.weight)
			s.max = max(s.max, d.weight)
		}
	}
	if s.step == 0 {
		s.step = 1
	}
	if s.max > 0 {
		s.max -= s.step - 1
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// table fills sh's 256 slots.
func (s *service) table() {
	s.buckets = nil
	if len(s.servers) == 0 {
		return
	}
	for i := 0; len(s.buckets) < 256; i = (i + 1) % len(s.servers) {
		for n := max(1, s.servers[i].weight); n > 0 && len(s.buckets) < 256; n-- {
			s.buckets = append(s.buckets, s.servers[i])
		}
	}
}

// pick is the scheduler: the server of a new connection of this client, or nil.
func (s *service) pick(client netip.Addr) *server {
	switch s.scheduler {
	case "rr":
		return s.pickRR()
	case "wrr":
		return s.pickWRR()
	case "lc":
		return s.least(func(*server) int { return 1 })
	case "wlc":
		return s.least(func(d *server) int { return d.weight })
	case "sh":
		if s.buckets == nil {
			return nil
		}
		if d := s.buckets[slot(client)]; d.usable() {
			return d
		}
	}
	return nil
}

func (s *service) pickRR() *server {
	n, from := len(s.servers), -1
	for i, d := range s.servers {
		if d == s.rr {
			from = i
		}
	}
	for k := 1; k <= n; k++ { // the last one looked at is the one after which the walk began
		if d := s.servers[(from+k)%n]; d.usable() {
			s.rr = d
			return d
		}
	}
	return nil
}

// pickWRR is schedulers.md section 3, step by step.
func (s *service) pickWRR() *server {
	if s.max == 0 {
		return nil
	}
	last, stop := s.wrr, -1
	lastPass, restarted := false, false
	for {
		for s.wrr++; s.wrr < len(s.servers); s.wrr++ {
			d := s.servers[s.wrr]
			if !d.overload && d.weight >= s.bar {
				return d
			}
			if s.wrr == stop {
				return nil
			}
		}
		s.wrr = -1
		s.bar -= s.step
		if s.bar <= 0 {
			s.bar = s.max
			if lastPass || last == -1 {
				return nil
			}
			restarted = true
		}
		lastPass = s.bar <= s.step
		if lastPass && restarted && last != -1 {
			stop = last
		}
	}
}

// least is the server with the smallest load for its weight; the first in the list wins a tie.
func (s *service) least(weight func(*server) int) (best *server) {
	for _, d := range s.servers {
		if !d.usable() {
			continue
		}
		if best == nil || best.load()*weight(d) > d.load()*weight(best) {
			best = d
		}
	}
	return best
}

// slot is sh's hash of a client.
func slot(a netip.Addr) int {
	var v uint32
	for b := a.AsSlice(); len(b) > 0; b = b[4:] {
		v ^= be.Uint32(b)
	}
	return int(v * 0x61c88647 >> 24)
}
