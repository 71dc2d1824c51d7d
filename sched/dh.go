package sched

import "github.com/fastlb/fastlb/service"

// dh is destination hashing: 256 slots filled cyclically with the list, looked up by the packet's destination. It takes
// no other server when the one found cannot be used (spec/schedulers.md 10).
type dh struct {
	slots [256]*service.Server
}

// Blind says that connection counts play no part.
func (*dh) Blind() {}

// Update rebuilds the table; an edit changes nothing in it.
func (s *dh) Update(servers []*service.Server, ev service.Event, _ *service.Server) {
	if ev == service.ServerEdited {
		return
	}
	for i := range s.slots {
		s.slots[i] = nil
		if len(servers) > 0 {
			s.slots[i] = servers[i%len(servers)]
		}
	}
}

func (s *dh) Schedule(r *service.Request) *service.Server {
	d := s.slots[hash32(fold(r.Dst, r.Family), 8)]
	if d == nil || !d.Available() || !d.Usable() {
		return nil
	}
	return d
}
