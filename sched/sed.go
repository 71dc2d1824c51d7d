package sched

import "github.com/fastlb/fastlb/service"

// newSED is shortest expected delay: the lowest number of active connections, the new one included, for its weight
// (spec/schedulers.md 6).
func newSED() service.Scheduler {
	return &least{tournament: tournament{of: func(s *service.Server) (int64, int64) { return s.Delay(), usable(s) }}}
}
