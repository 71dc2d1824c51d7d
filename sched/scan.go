package sched

import "github.com/fastlb/fastlb/service"

// list is embedded by schedulers whose whole state is the list of servers.
type list struct{ servers []*service.Server }

func (l *list) Update(servers []*service.Server, _ service.Event, _ *service.Server) {
	l.servers = servers
}

// leastWeighted is the choice of wlc: the usable server with the lowest overhead for its weight, the first in the list
// of equals (spec/schedulers.md 1.3, 5). lblc and lblcr choose so too.
func leastWeighted(servers []*service.Server) *service.Server {
	var best *service.Server
	var load, weight int64
	for _, s := range servers {
		if s.Overloaded() {
			continue
		}
		w := int64(s.LoadWeight())
		if best == nil {
			if w > 0 {
				best, load, weight = s, s.Overhead(), w
			}
			continue
		}
		if o := s.Overhead(); load*w > o*weight {
			best, load, weight = s, o, w
		}
	}
	return best
}

// gcd is the greatest common divisor; of 0 and a it is a.
func gcd(a, b int32) int32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
