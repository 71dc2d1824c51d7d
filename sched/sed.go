package sched

import "github.com/fastlb/fastlb/service"

// sed is shortest expected delay: the lowest number of active connections, the new one included, for its weight
// (spec/schedulers.md 6).
type sed struct{ list }

func (s *sed) Schedule(*service.Request) *service.Server {
	var best *service.Server
	var load, weight int64
	for _, d := range s.servers {
		if d.Overloaded() {
			continue
		}
		w := int64(d.LoadWeight())
		if best == nil {
			if w > 0 {
				best, load, weight = d, d.Delay(), w
			}
			continue
		}
		if o := d.Delay(); load*w > o*weight {
			best, load, weight = d, o, w
		}
	}
	return best
}
