package sched

import "github.com/fastlb/fastlb/service"

// newLocal is the least of lblc and lblcr, which also asks whether a server is busy.
func newLocal() least {
	return least{tournament: tournament{of: overhead}, idle: &tournament{of: fullness}}
}

// fullness compares active connections with half the weight; whether a server is overloaded does not matter.
func fullness(s *service.Server) (load, weight int64) {
	return 2 * int64(s.LoadActive()), max(0, int64(s.LoadWeight()))
}

// busy tells whether a server has more active connections than its weight while another one is less than half full:
// whether the emptiest is.
func (l *least) busy(d *service.Server) bool {
	if d.LoadActive() <= d.LoadWeight() {
		return false
	}
	if l.anchor == nil {
		return halfEmpty(l.servers)
	}
	l.listen()
	_, k := l.idle.best(l.servers)
	return k.load < k.weight
}

// halfEmpty tells by walking the list whether some server is less than half full.
func halfEmpty(servers []*service.Server) bool {
	for _, o := range servers {
		if load, weight := fullness(o); load < weight {
			return true
		}
	}
	return false
}
