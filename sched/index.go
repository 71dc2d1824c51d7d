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
// Loads change behind its back. Those that have fallen are told by the servers' anchor (service/watch.go), and their
// matches are played again before a choice. Those that have grown are seen when their server has won: then its matches are
// played again, until a winner's load is what it was taken for. So a choice costs a few times log2 of the servers,
// and is the one that walking the list would make.
type least struct {
	tournament
	servers []*service.Server
	anchor  *service.Server // nil: walk
	idle    *tournament     // a second one over the same servers: lblc and lblcr ask for the idlest; or nil
	fresh   int             // choices until everything is measured again, whatever was told
}

// tournament keeps the winners of matches between servers. The one with less load for its weight wins, the left one a
// draw.
//
//	          1: winner of 2 and 3
//	     2            3              a node holds the index of a server; the left one wins a draw
//	  4     5      6     7
//	L0 L1  L2 L3  L4 L5  L6 L7       leaves: the servers, head of the list first
type tournament struct {
	of   measure
	keys []rating
	tree []int32 // 1 is the root; the leaf of server i is at size+i, -1 where there is none
	size int     // a power of two
}

type rating struct{ load, weight int64 }

// treeFrom is the number of servers from which on the tournament pays.
const treeFrom = 32

// freshFor is how many choices pass until everything is measured again: the cost vanishes among so many, and should a
// change ever not be told, it is not missed for ever.
const freshFor = 1 << 16

func (l *least) Update(servers []*service.Server, ev service.Event, subject *service.Server) {
	if ev == service.ServerEdited && l.anchor != nil {
		l.look(subject)
		return
	}
	l.servers, l.anchor = servers, nil
	if len(servers) >= treeFrom {
		l.anchor = servers[0].Anchor()
	}
	if l.anchor == nil {
		l.clear()
		if l.idle != nil {
			l.idle.clear()
		}
		return
	}
	for i, s := range servers {
		atomic.StoreUint32(&s.Place, uint32(i))
	}
	l.build()
}

// build measures all servers and plays all matches.
func (l *least) build() {
	l.fresh = freshFor
	l.play(l.servers)
	if l.idle != nil {
		l.idle.play(l.servers)
	}
}

// clear forgets everybody.
func (t *tournament) clear() { t.keys, t.tree, t.size = nil, nil, 0 }

// play measures all servers and plays all matches.
func (t *tournament) play(servers []*service.Server) {
	if len(t.keys) != len(servers) {
		for t.size = treeFrom; t.size < len(servers); t.size *= 2 {
		}
		t.keys, t.tree = make([]rating, len(servers)), make([]int32, 2*t.size)
	}
	for i := range t.size {
		t.tree[t.size+i] = -1
		if i < len(servers) {
			t.tree[t.size+i] = int32(i)
			t.keys[i].load, t.keys[i].weight = t.of(servers[i])
		}
	}
	for n := t.size - 1; n > 0; n-- {
		t.tree[n] = t.winner(t.tree[2*n], t.tree[2*n+1])
	}
}

// winner of a match; a is before b in the list.
func (t *tournament) winner(a, b int32) int32 {
	if b < 0 || t.keys[b].weight == 0 {
		return a
	}
	if x, y := &t.keys[a], &t.keys[b]; x.weight == 0 || x.load*y.weight > y.load*x.weight {
		return b
	}
	return a
}

// measure looks at server i anew, plays its matches again if its load is not what it was taken for, and tells so.
func (t *tournament) measure(i int32, s *service.Server) bool {
	var k rating
	if k.load, k.weight = t.of(s); k == t.keys[i] {
		return false
	}
	t.keys[i] = k
	for n := (t.size + int(i)) / 2; n > 0; n /= 2 {
		t.tree[n] = t.winner(t.tree[2*n], t.tree[2*n+1])
	}
	return true
}

// best is the winner of all; its weight is 0 if nobody has one.
func (t *tournament) best(servers []*service.Server) (int32, rating) {
	for range 2 * len(servers) { // more only while other workers change loads all the time
		if i := t.tree[1]; !t.measure(i, servers[i]) {
			break
		}
	}
	i := t.tree[1]
	return i, t.keys[i]
}

// look measures a server anew if it is in the list.
func (l *least) look(s *service.Server) {
	i := atomic.LoadUint32(&s.Place)
	if i >= uint32(len(l.servers)) || l.servers[i] != s {
		return
	}
	l.measure(int32(i), s)
	if l.idle != nil {
		l.idle.measure(int32(i), s)
	}
}

// listen looks at the servers whose load has fallen, and from time to time at all.
func (l *least) listen() {
	if l.fresh--; l.fresh < 0 {
		l.build()
	}
	for s := l.anchor.TakeChanged(); s != nil; {
		next := s.NextChanged()
		l.look(s)
		s = next
	}
}

func (l *least) Schedule(*service.Request) *service.Server {
	if l.anchor == nil {
		return l.walk()
	}
	l.listen()
	if i, k := l.best(l.servers); k.weight != 0 {
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
