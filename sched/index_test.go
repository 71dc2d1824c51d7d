package sched

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fastlb/fastlb/service"
)

// many makes a table with a service of n servers.
func many(t testing.TB, name string, n int) (*service.Table, *service.Service) {
	t.Helper()
	table := service.NewTable(service.HeapSlots(2*n+8), func(name string) (service.Scheduler, error) { return New(name, Env{}) })
	id := service.ID{Family: 4, Protocol: service.TCP, Addr: netip.MustParseAddr("192.0.2.1"), Port: 80}
	if err := table.AddService(service.Spec{ID: id, Scheduler: name}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := table.AddServer(id, nth(i, int32(1+i%5))); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := table.Service(id)
	return table, s
}

func nth(i int, weight int32) service.ServerSpec {
	return service.ServerSpec{
		ServerID: service.ServerID{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Port: 80}, Weight: weight,
	}
}

// tournaments names the schedulers with an index and what walking the list chooses by.
func tournaments() map[string]func(*service.Server) (int64, int64) {
	list := map[string]func(*service.Server) (int64, int64){}
	for _, name := range []string{"lc", "wlc", "sed", "nq", "fo", "ovf"} {
		s, _ := New(name, Env{})
		list[name] = s.(*least).of
	}
	return list
}

// TestTournament compares the choices of the index with those of walking the list, through everything that changes a
// load, a weight, a threshold or the list.
func TestTournament(t *testing.T) {
	for name, of := range tournaments() {
		for seed := range uint64(12) {
			r := rand.New(rand.NewPCG(seed, 11))
			n := 30 + r.IntN(100) // some begin below the limit of the index
			table, v := many(t, name, n)
			type conn struct {
				server *service.Server
				active bool
			}
			var conns []conn
			for step := range 4000 {
				i := r.IntN(n + 5)
				spec := nth(i, int32(r.IntN(6)))
				if r.IntN(2) == 0 {
					spec.Upper = uint32(r.IntN(6))
				}
				switch op := r.IntN(100); {
				case op == 0:
					_ = table.AddServer(v.ID, spec)
				case op == 1:
					_ = table.DeleteServer(v.ID, spec.ServerID)
				case op <= 4:
					_ = table.EditServer(v.ID, spec)
				case op == 5 && step%20 == 0:
					table.SetClassic(r.IntN(2) == 0)
				case op == 6 && step%50 == 0: // the service is made anew: its servers return, with their connections
					servers := v.Servers
					if err := table.DeleteService(v.ID); err != nil {
						t.Fatal(err)
					}
					if err := table.AddService(v.Spec); err != nil {
						t.Fatal(err)
					}
					for _, d := range servers {
						if err := table.AddServer(v.ID, d.Spec()); err != nil {
							t.Fatal(err)
						}
					}
					v, _ = table.Service(v.ID)
				case op <= 40 && len(conns) > 0:
					i := r.IntN(len(conns))
					c := conns[i]
					if c.active && r.IntN(2) == 0 {
						c.server.Deactivate()
						conns[i].active = false
					} else {
						c.server.Unbind(false, c.active)
						conns = append(conns[:i], conns[i+1:]...)
					}
				default:
					want := (&least{tournament: tournament{of: of}, servers: v.Servers}).walk()
					got := v.Pick(&service.Request{})
					if got != want {
						t.Fatalf("%s seed %d step %d of %d servers: chose %s, walking chooses %s", name, seed, step, len(v.Servers), number(got), number(want))
					}
					if got != nil {
						got.Bind(false)
						active := r.IntN(3) > 0
						if active {
							got.Activate()
						}
						conns = append(conns, conn{got, active})
					}
				}
			}
		}
	}
}

// TestTournamentConcurrently lets workers bind and unbind; when all are quiet, the choice is that of walking the list.
func TestTournamentConcurrently(t *testing.T) {
	for name, of := range tournaments() {
		table, v := many(t, name, 100)
		var snap atomic.Pointer[service.Snapshot]
		snap.Store(table.Snapshot())
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(w), 13))
				var held []*service.Server
				for range 3000 {
					if d := snap.Load().Services[0].Pick(&service.Request{}); d != nil {
						d.Bind(false)
						d.Activate()
						held = append(held, d)
					}
					for len(held) > 0 && r.IntN(2) == 0 {
						i := r.IntN(len(held))
						held[i].Unbind(false, true)
						held = append(held[:i], held[i+1:]...)
					}
				}
			})
		}
		for i := range 200 {
			if i%2 == 0 {
				_ = table.DeleteServer(v.ID, nth(i%100, 1).ServerID)
			} else {
				_ = table.AddServer(v.ID, nth((i-1)%100, 1))
			}
			snap.Store(table.Snapshot())
		}
		wg.Wait()
		for range 300 {
			want := (&least{tournament: tournament{of: of}, servers: v.Servers}).walk()
			got := v.Pick(&service.Request{})
			if got != want {
				t.Fatalf("%s: chose %s, walking chooses %s", name, number(got), number(want))
			}
			if got != nil {
				got.Bind(false)
				got.Activate()
			}
		}
	}
}

// TestBusy compares what lblc and lblcr find out about busy servers with what the kernel's walk would.
func TestBusy(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 17))
		n := 40 + r.IntN(100)
		var l *lblc
		table := service.NewTable(service.HeapSlots(2*n+8), func(name string) (service.Scheduler, error) {
			s, err := New(name, Env{})
			l = s.(*lblc)
			return s, err
		})
		id := service.ID{Family: 4, Protocol: service.TCP, Addr: netip.MustParseAddr("192.0.2.1"), Port: 80}
		if err := table.AddService(service.Spec{ID: id, Scheduler: "lblc"}); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if err := table.AddServer(id, nth(i, int32(r.IntN(4)))); err != nil {
				t.Fatal(err)
			}
		}
		v, _ := table.Service(id)
		var held []*service.Server
		yes := 0
		for range 5000 {
			d := v.Servers[r.IntN(len(v.Servers))]
			switch op := r.IntN(100); {
			case op == 0:
				_ = table.EditServer(id, nth(r.IntN(n), int32(r.IntN(4))))
			case op == 1:
				_ = table.DeleteServer(id, nth(r.IntN(n), 1).ServerID)
			case op == 2:
				_ = table.AddServer(id, nth(r.IntN(n), int32(r.IntN(4))))
			case op < 15 && len(held) > 0:
				i := r.IntN(len(held))
				if r.IntN(2) == 0 {
					held[i].Deactivate()
					held[i].Unbind(false, false)
				} else {
					held[i].Unbind(false, true)
				}
				held = append(held[:i], held[i+1:]...)
			default:
				d.Bind(false)
				d.Activate()
				held = append(held, d)
			}
			want := d.LoadActive() > d.LoadWeight() && halfEmpty(v.Servers)
			if got := l.busy(d); got != want {
				t.Fatalf("seed %d: %s with %d connections of %d is busy: %v, the walk says %v", seed, number(d), d.LoadActive(), d.LoadWeight(), got, want)
			}
			if want {
				yes++
			}
		}
		if yes < 10 || yes > 4900 {
			t.Errorf("seed %d: %d of 5000 were busy: not much of a test", seed, yes)
		}
	}
}

func TestTournamentDoesNotAllocate(t *testing.T) {
	_, v := many(t, "wlc", 200)
	var q service.Request
	if n := testing.AllocsPerRun(1000, func() {
		d := v.Pick(&q)
		d.Bind(false)
		d.Activate()
		d.Deactivate()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkChurn reports a choice with what comes with it: the new connection is bound, and an old one ends.
func BenchmarkChurn(b *testing.B) {
	for _, name := range []string{"lc", "wlc", "sed", "nq", "fo", "ovf"} {
		for _, n := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				_, v := many(b, name, n)
				var held [4096]*service.Server
				r := rand.New(rand.NewPCG(1, 1))
				var q service.Request
				for b.Loop() {
					i := r.Uint32() % uint32(len(held))
					if held[i] != nil {
						held[i].Unbind(false, true)
					}
					d := v.Pick(&q)
					if held[i] = d; d == nil {
						continue
					}
					d.Bind(false)
					d.Activate()
				}
			})
		}
	}
}
