package sched

import "github.com/fastlb/fastlb/service"

// newWLC is weighted least connection: the lowest overhead for its weight (spec/schedulers.md 5).
func newWLC() service.Scheduler {
	return &least{tournament: tournament{of: overhead}}
}

// overhead is what wlc, and lblc and lblcr where they choose like it, compare.
func overhead(s *service.Server) (load, weight int64) { return s.Overhead(), usable(s) }
