package sched

import "github.com/fastlb/fastlb/service"

// ovf is weighted overflow: the highest weight whose active connections do not exceed it (spec/schedulers.md 13).
type ovf struct{ list }

func (s *ovf) Schedule(*service.Request) *service.Server {
	var best *service.Server
	var weight int32
	for _, d := range s.servers {
		if w := d.LoadWeight(); w > weight && d.LoadActive() <= w && !d.Overloaded() {
			best, weight = d, w
		}
	}
	return best
}
