package sched

import "github.com/fastlb/fastlb/service"

// fo is weighted failover: the highest weight that is usable (spec/schedulers.md 12).
type fo struct{ list }

func (s *fo) Schedule(*service.Request) *service.Server {
	var best *service.Server
	var weight int32
	for _, d := range s.servers {
		if w := d.LoadWeight(); w > weight && !d.Overloaded() {
			best, weight = d, w
		}
	}
	return best
}
