package sched

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/service"
)

// measure is what a scheduler compares of a server: load for weight. A weight of 0 means that the server is not to be
// chosen.
type measure func(*service.Server) (load, weight int64)

// least finds the server with the smallest load for its weight, the first in the list of equals: by walking the list
// when it is short, else by a tournament whose winners are kept.
//
//	          1: winner of 2 and 3
//	     2            3              a node holds the index of a server; the left one wins a draw
//	  4     5      6     7
//	L0 L1  L2 L3  L4 L5  L6 L7       leaves: the servers, head of the list first
//
// Loads change behind its back. Those that have fallen are told by the servers' anchor (service/watch.go), and their
// matches are played again before a choice. Those that have grown are seen when their server has won: then its matches are
// played again, until a winner's load is what it was taken for. So a choice costs a few times log2 of the servers,
// and is the one that walking the list would make.
type least struct {
	of      measure
	servers []*service.Server
	anchor  *service.Server // nil: walk
	keys    []rating
	tree    []int32 // 1 is the root; the leaf of server i is at size+i, -1 where there is none
	size    int     // a power of two
	fresh   int     // choices until everything is measured again, whatever was told
}

type rating struct{ load, weight int64 }

// treeFrom is the number of servers from which on the tournament pays.
const treeFrom = 32

// freshFor is how many choices pass until everything is measured again: the cost vanishes among so many, and should a
// change ever not be told, it is not missed for ever.
const freshFor = 1 << 16

func (l *least) Update(servers []*service.Server, ev service.Event, subject *service.Server) {
	if ev == service.ServerEdited && l.anchor != nil {
		l.measure(subject)
		return
	}
	l.servers, l.anchor = servers, nil
	if len(servers) >= treeFrom {
		l.anchor = servers[0].Anchor()
	}
	if l.anchor == nil {
		l.keys, l.tree = nil, nil
		return
	}
	for l.size = treeFrom; l.size < len(servers); l.size *= 2 {
	}
	l.keys, l.tree = make([]rating, len(servers)), make([]int32, 2*l.size)
	for i := range l.size {
		l.tree[l.size+i] = -1
		if i < len(servers) {
			l.tree[l.size+i] = int32(i)
			atomic.StoreUint32(&servers[i].Place, uint32(i))
		}
	}
	l.build()
}

// build measures all servers and plays all matches.
func (l *least) build() {
	l.fresh = freshFor
	for i, s := range l.servers {
		l.keys[i].load, l.keys[i].weight = l.of(s)
	}
	for n := l.size - 1; n > 0; n-- {
		l.tree[n] = l.winner(l.tree[2*n], l.tree[2*n+1])
	}
}

// winner of a match; a is before b in the list.
func (l *least) winner(a, b int32) int32 {
	if b < 0 || l.keys[b].weight == 0 {
		return a
	}
	if x, y := &l.keys[a], &l.keys[b]; x.weight == 0 || x.load*y.weight > y.load*x.weight {
		return b
	}
	return a
}

// replay plays the matches of server i again.
func (l *least) replay(i int32) {
	for n := (l.size + int(i)) / 2; n > 0; n /= 2 {
		l.tree[n] = l.winner(l.tree[2*n], l.tree[2*n+1])
	}
}

// measure looks at a server anew if it is in the list, and tells whether its load was not what it was taken for.
func (l *least) measure(s *service.Server) bool {
	i := atomic.LoadUint32(&s.Place)
	if i >= uint32(len(l.servers)) || l.servers[i] != s {
		return false
	}
	var k rating
	if k.load, k.weight = l.of(s); k == l.keys[i] {
		return false
	}
	l.keys[i] = k
	l.replay(int32(i))
	return true
}

func (l *least) Schedule(*service.Request) *service.Server {
	if l.anchor == nil {
		return l.walk()
	}
	if l.fresh--; l.fresh < 0 {
		l.build()
	}
	for s := l.anchor.TakeChanged(); s != nil; {
		next := s.NextChanged()
		l.measure(s)
		s = next
	}
	for range 2 * len(l.servers) { // more only while other workers change loads all the time
		if s := l.servers[l.tree[1]]; !l.measure(s) {
			break
		}
	}
	if i := l.tree[1]; l.keys[i].weight != 0 {
		return l.servers[i]
	}
	return nil
}

// walk is the choice by walking the list.
func (l *least) walk() *service.Server {
	var best *service.Server
	var k rating
	for _, s := range l.servers {
		load, weight := l.of(s)
		if weight != 0 && (best == nil || k.load*weight > load*k.weight) {
			best, k = s, rating{load, weight}
		}
	}
	return best
}

// usable is the weight, or 0 for a server that is overloaded.
func usable(s *service.Server) int64 {
	if s.Overloaded() {
		return 0
	}
	return max(0, int64(s.LoadWeight()))
}
