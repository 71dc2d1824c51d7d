package sched

import "github.com/fastlb/fastlb/service"

// lc is least connection: the lowest overhead, weights only say whether a server takes part (spec/schedulers.md 4).
type lc struct{ list }

func (s *lc) Schedule(*service.Request) *service.Server {
	var best *service.Server
	var load int64
	for _, d := range s.servers {
		if !d.Usable() {
			continue
		}
		if o := d.Overhead(); best == nil || o < load {
			best, load = d, o
		}
	}
	return best
}
