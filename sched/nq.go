package sched

import "github.com/fastlb/fastlb/service"

// newNQ is never queue: the first idle server, or else the shortest expected delay (spec/schedulers.md 7). An idle server
// has no load at all here, so that the first of them comes before all others.
func newNQ() service.Scheduler {
	return &least{tournament: tournament{of: func(s *service.Server) (int64, int64) {
		if d := s.Delay(); d > 1 {
			return d, usable(s)
		}
		return 0, usable(s)
	}}}
}
