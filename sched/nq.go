package sched

import "github.com/fastlb/fastlb/service"

// nq is never queue: the first idle server, or else the shortest expected delay (spec/schedulers.md 7).
type nq struct{ list }

func (s *nq) Schedule(*service.Request) *service.Server {
	var best *service.Server
	var load, weight int64
	for _, d := range s.servers {
		if !d.Usable() {
			continue
		}
		w, o := int64(d.LoadWeight()), d.Delay()
		if o == 1 {
			return d
		}
		if best == nil || load*w > o*weight {
			best, load, weight = d, o, w
		}
	}
	return best
}
