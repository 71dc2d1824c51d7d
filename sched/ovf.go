package sched

import "github.com/fastlb/fastlb/service"

// newOVF is weighted overflow: the highest weight whose active connections do not exceed it, the first in the list of
// equals (spec/schedulers.md 13). All loads are the same here, and a server that flows over has no weight.
func newOVF() service.Scheduler {
	return &least{tournament: tournament{of: func(s *service.Server) (int64, int64) {
		if w := usable(s); int64(s.LoadActive()) <= w {
			return 1, w
		}
		return 1, 0
	}}}
}
