package service

import (
	"errors"
	"fmt"
)

// ErrBadSlots is returned by OpenSlots for memory that NewSlots did not format.
var ErrBadSlots = errors.New("not a server table of this version")

// States of a slot (Server.State); written and read by the control path alone.
const (
	slotFree   uint8 = iota
	slotLinked       // in a service
	slotTrash        // removed from its service, connections may still refer to it (spec/connections.md 8.1)
	slotAnchor       // holds no server: see watch.go; free to the next process
)

// never is the value of Server.Removed while a removed server has not been seen idle.
const never = -1

var slotsMagic = [8]byte{'f', 'l', 'b', 's', 'l', 'o', 't', '1'}

// Slots are the real servers' records in memory that the caller gives: a file mapping live, the heap in tests. A
// server keeps its number for as long as any connection may refer to it. Alloc and Free belong to the control path; Get
// may be called by anybody.
type Slots struct {
	servers []Server
	free    []uint32 // numbers, the lowest last
	high    uint32   // the highest number that was ever in use
}

// SlotsSize is the memory in bytes that capacity servers need.
func SlotsSize(capacity int) int64 { return int64(capacity+1) * int64(slotSize) }

// NewSlots formats mem, which must be aligned to 8 bytes, for as many servers as fit.
func NewSlots(mem []byte) (*Slots, error) {
	h, servers, ok := view(mem)
	if !ok {
		return nil, fmt.Errorf("server table: %d bytes of memory is too little or not aligned", len(mem))
	}
	clear(servers)
	*h = slotsHeader{Magic: slotsMagic, Size: uint32(slotSize), Capacity: uint32(len(servers))}
	s := &Slots{servers: servers}
	s.list()
	return s, nil
}

// HeapSlots makes slots in the Go heap: for tests, for replay, and for a director that keeps no state.
func HeapSlots(capacity int) *Slots {
	s := &Slots{servers: make([]Server, capacity)}
	s.list()
	return s
}

// OpenSlots adopts what an earlier process left in mem. Every server it finds is in the trash, as if its service had
// just been deleted: adding a server with the same identity (spec/connections.md 8.1) revives it, number and counts
// included.
func OpenSlots(mem []byte) (*Slots, error) {
	h, servers, ok := view(mem)
	if !ok || h.Magic != slotsMagic || h.Size != uint32(slotSize) || int(h.Capacity) != len(servers) {
		return nil, ErrBadSlots
	}
	s := &Slots{servers: servers}
	for i := range servers {
		v := &servers[i]
		if v.State == slotAnchor {
			v.State = slotFree
		}
		if v.State == slotFree {
			continue
		}
		v.Watch, v.Changed, v.NextChange = 0, 0, 0
		if v.Number != uint32(i+1) || v.State > slotTrash {
			return nil, fmt.Errorf("%w: slot %d is damaged", ErrBadSlots, i+1)
		}
		v.State, v.Removed, v.Service = slotTrash, never, 0
		v.setFlags(0, ServerAvailable)
	}
	s.list()
	return s, nil
}

// list rebuilds the free list from the slots' states.
func (s *Slots) list() {
	s.free = s.free[:0]
	for i := len(s.servers); i > 0; i-- {
		if s.servers[i-1].State == slotFree {
			s.free = append(s.free, uint32(i))
		} else {
			s.high = max(s.high, uint32(i))
		}
	}
}

// Capacity is the number of slots.
func (s *Slots) Capacity() int { return len(s.servers) }

// Used is the number of slots in use, the trash included.
func (s *Slots) Used() int { return len(s.servers) - len(s.free) }

// High is the highest number that was ever in use.
func (s *Slots) High() uint32 { return s.high }

// Get returns the server with a number, linked, removed or free; nil for 0 and for numbers beyond the capacity.
func (s *Slots) Get(number uint32) *Server {
	if i := number - 1; i < uint32(len(s.servers)) {
		return &s.servers[i]
	}
	return nil
}

// Alloc takes the lowest free slot and clears it but for Number and State; nil: all are in use.
func (s *Slots) Alloc() *Server {
	if len(s.free) == 0 {
		return nil
	}
	n := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.high = max(s.high, n)
	v := &s.servers[n-1]
	*v = Server{Number: n, State: slotLinked}
	return v
}

// anchor takes the highest free slot for an anchor; nil: all are in use.
func (s *Slots) anchor() *Server {
	if len(s.free) == 0 {
		return nil
	}
	n := s.free[0]
	s.free = s.free[1:]
	v := &s.servers[n-1]
	*v = Server{Number: n, State: slotAnchor}
	return v
}

// Free gives a slot back. No connection and no snapshot that a worker still reads may refer to it.
func (s *Slots) Free(v *Server) {
	v.State = slotFree
	i := len(s.free)
	s.free = append(s.free, v.Number)
	for ; i > 0 && s.free[i-1] < v.Number; i-- { // keep the order, so that numbers are the same in every run
		s.free[i] = s.free[i-1]
	}
	s.free[i] = v.Number
}

// removed calls f for each server in the trash, in the order of their numbers.
func (s *Slots) removed(f func(*Server)) {
	for i := range s.servers {
		if s.servers[i].State == slotTrash {
			f(&s.servers[i])
		}
	}
}
