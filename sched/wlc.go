package sched

import "github.com/fastlb/fastlb/service"

// wlc is weighted least connection: the lowest overhead for its weight (spec/schedulers.md 5).
type wlc struct{ list }

func (s *wlc) Schedule(*service.Request) *service.Server { return leastWeighted(s.servers) }
