package sched

import "github.com/fastlb/fastlb/service"

// newLC is least connection: the lowest overhead, weights only say whether a server takes part (spec/schedulers.md 4).
func newLC() service.Scheduler {
	return &least{tournament: tournament{of: func(s *service.Server) (int64, int64) { return s.Overhead(), min(usable(s), 1) }}}
}
