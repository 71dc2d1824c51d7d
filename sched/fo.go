package sched

import "github.com/fastlb/fastlb/service"

// newFO is weighted failover: the highest weight that is usable, the first in the list of equals (spec/schedulers.md 12).
// All loads are the same here.
func newFO() service.Scheduler {
	return &least{tournament: tournament{of: func(s *service.Server) (int64, int64) { return 1, usable(s) }}}
}
