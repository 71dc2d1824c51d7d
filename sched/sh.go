package sched

import "github.com/fastlb/fastlb/service"

// sh is source hashing: 256 slots filled cyclically with the list, as many in a row as a server's weight, looked up by
// the client (spec/schedulers.md 11). Flag 1 is sh-fallback, flag 2 sh-port.
type sh struct {
	slots [256]*service.Server
}

// Blind says that connection counts play no part.
func (*sh) Blind() {}

func (s *sh) Update(servers []*service.Server, _ service.Event, _ *service.Server) {
	clear(s.slots[:])
	if len(servers) == 0 {
		return
	}
	for i, n := 0, 0; i < len(s.slots); n++ {
		d := servers[n%len(servers)]
		for turns := max(1, d.LoadWeight()); turns > 0 && i < len(s.slots); turns-- { // weight 0 takes a slot too
			s.slots[i] = d
			i++
		}
	}
}

func (s *sh) Schedule(r *service.Request) *service.Server {
	slot := hash32(clientPort(r)+fold(r.Client, r.Family), 8)
	d := s.slots[slot]
	if d == nil {
		return nil
	}
	if d.Usable() {
		return d
	}
	if r.Flags&service.SchedFlag1 == 0 {
		return nil
	}
	for offset := range uint32(256) {
		d := s.slots[((offset+slot)%256+slot)%256] // the kernel adds the slot twice
		if d == nil {
			return nil
		}
		if d.Usable() {
			return d
		}
	}
	return nil
}
