package service

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

func TestCounterLine(t *testing.T) {
	if n := unsafe.Sizeof(CounterLine{}); n != 64 {
		t.Errorf("a line has %d bytes", n)
	}
	c := NewCounters(2, 3)
	if p := uintptr(unsafe.Pointer(c.Line(1, 3))); p%64 != 0 {
		t.Errorf("lines begin at %#x", p)
	}
	c.Line(0, 3).Conn()
	c.Line(0, 3).In(60)
	c.Line(1, 3).In(40)
	c.Line(1, 3).Out(1500)
	if got, want := c.Sum(3), (Stats{1, 2, 1, 100, 1500}); got != want {
		t.Errorf("sum %v, want %v", got, want)
	}
	if c.Sum(2) != (Stats{}) {
		t.Error("a neighbour was counted")
	}
}

// TestLedger lets servers and services come, go, return and be zeroed at random while packets are counted, and compares
// the statistics with counts kept per object.
func TestLedger(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	tb, _ := newTable(t, 64)
	c := NewCounters(3, 64)
	tb.Count(c)
	ids := []ID{web, {Family: 4, Mark: 1}}
	services := map[ID]*Stats{}
	type who struct {
		id     ID
		server ServerID
	}
	servers := map[who]*Stats{}
	owner := map[who]int{} // the service object that the kept counts belong to
	life := map[ID]int{}
	var total Stats
	for step := range 20000 {
		id := ids[r.IntN(2)]
		d := real(fmt.Sprintf("10.0.0.%d:80", 1+r.IntN(5)), 1)
		w := who{id, d.ServerID}
		switch op := r.IntN(20); {
		case op == 0 && step%7 == 0:
			if tb.DeleteService(id) == nil {
				delete(services, id)
			}
		case op == 1:
			if tb.AddService(spec(id, "first")) == nil {
				services[id] = &Stats{}
				life[id]++
			}
		case op <= 4:
			if tb.AddServer(id, d) == nil && owner[w] != life[id] {
				servers[w], owner[w] = &Stats{}, life[id]
			}
		case op <= 6:
			_ = tb.DeleteServer(id, d.ServerID)
		case op == 7:
			if tb.Zero(id) == nil {
				*services[id] = Stats{}
				s, _ := tb.Service(id)
				for _, d := range s.Servers {
					*servers[who{id, d.ID()}] = Stats{}
				}
			}
		case op == 8 && step%50 == 0:
			tb.ZeroAll()
			total = Stats{}
			for _, s := range tb.Services() {
				*services[s.ID] = Stats{}
				for _, d := range s.Servers {
					*servers[who{s.ID, d.ID()}] = Stats{}
				}
			}
		default:
			if s, err := tb.Server(id, d.ServerID); err == nil {
				l := c.Line(r.IntN(3), s.Number)
				l.Conn()
				l.In(100)
				for _, o := range []*Stats{services[id], servers[w], &total} {
					o.Add(Stats{Conns: 1, InPkts: 1, InBytes: 100})
				}
			}
		}
		for _, s := range tb.Services() {
			if got, _ := tb.ServiceStats(s.ID); got != *services[s.ID] {
				t.Fatalf("step %d: %s: %v, want %v", step, s.Name(), got, *services[s.ID])
			}
			for _, d := range s.Servers {
				if got := tb.ServerStats(d); got != *servers[who{s.ID, d.ID()}] {
					t.Fatalf("step %d: %s %s: %v, want %v", step, s.Name(), d.ID(), got, *servers[who{s.ID, d.ID()}])
				}
			}
		}
		if got := tb.TotalStats(); got != total {
			t.Fatalf("step %d: total %v, want %v", step, got, total)
		}
	}
}
