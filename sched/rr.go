package sched

import "github.com/fastlb/fastlb/service"

// rr is round robin: the next usable server after the one chosen last, whatever its weight (spec/schedulers.md 2).
type rr struct {
	line
	servers []*service.Server
	cursor  int // index of the server chosen last; -1: the list's head
	_       [24]byte
}

// Blind says that connection counts play no part.
func (*rr) Blind() {}

func (s *rr) Update(servers []*service.Server, ev service.Event, subject *service.Server) {
	switch {
	case ev == service.Init:
		s.cursor = -1
	case ev == service.ServerAdded && s.cursor >= 0: // everything moved one place back
		s.cursor++
	case ev == service.ServerRemoved:
		for i, o := range s.servers {
			if o == subject && i <= s.cursor { // the cursor itself steps back to its predecessor
				s.cursor--
				break
			}
		}
	}
	s.servers = servers
}

func (s *rr) Schedule(*service.Request) *service.Server {
	for i := s.cursor + 1; i < len(s.servers); i++ {
		if s.servers[i].Usable() {
			s.cursor = i
			return s.servers[i]
		}
	}
	for i := 0; i <= s.cursor; i++ {
		if s.servers[i].Usable() {
			s.cursor = i
			return s.servers[i]
		}
	}
	return nil
}
