package sched

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// server is a made-up linked server under the classic rule, which the worked examples of spec/schedulers.md use. Its
// number is its letter in the examples' lists: 1 is A.
func server(number uint32, active, inactive, weight int32) *service.Server {
	return &service.Server{
		Number: number, Addr: packet.AddrFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(number)})), Port: 80, SFamily: 4,
		Flags: service.ServerAvailable | service.ServerClassic, Active: active, Inactive: inactive,
		Weight: weight, LastWeight: weight,
	}
}

// weights makes a list of idle servers A, B, C … from their weights.
func weights(w ...int32) (list []*service.Server) {
	for i, w := range w {
		list = append(list, server(uint32(i+1), 0, 0, w))
	}
	return list
}

// start makes a scheduler with a list.
func start(t testing.TB, name string, list []*service.Server) service.Scheduler {
	t.Helper()
	s, err := New(name, Env{})
	if err != nil {
		t.Fatal(err)
	}
	s.Update(list, service.Init, nil)
	return s
}

// letter is the server's letter; "-" is none.
func letter(d *service.Server) string {
	if d == nil {
		return "-"
	}
	return string(rune('A' + d.Number - 1))
}

// picks are the letters of n choices.
func picks(s service.Scheduler, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(letter(s.Schedule(&service.Request{Family: 4})))
	}
	return b.String()
}

// load is a row of an example: active, inactive, weight.
type load [3]int32

func rows(rows []load) (list []*service.Server) {
	for i, r := range rows {
		list = append(list, server(uint32(i+1), r[0], r[1], r[2]))
	}
	return list
}

// oneChoice checks examples of a scheduler without state.
func oneChoice(t *testing.T, name string, examples map[string][][]load) {
	t.Helper()
	for want, lists := range examples {
		for _, l := range lists {
			if got := picks(start(t, name, rows(l)), 1); got != want {
				t.Errorf("%s of %v: %s, want %s", name, l, got, want)
			}
		}
	}
}

// model is a scheduler's twin: slow and plain. list is head first.
type model interface {
	changed(list []*service.Server, ev service.Event, subject *service.Server)
	pick(list []*service.Server, r *service.Request) *service.Server
}

// pure is a model without state.
type pure func(list []*service.Server, r *service.Request) *service.Server

func (pure) changed([]*service.Server, service.Event, *service.Server) {}

func (f pure) pick(list []*service.Server, r *service.Request) *service.Server { return f(list, r) }

// compare lives random lives of a service with a scheduler and its twin: servers come, go, return and are edited,
// connections are made and end, and each choice must be the same.
func compare(t *testing.T, name string, newModel func() model) {
	t.Helper()
	chosen, lives := 0, uint64(60)
	if name == "mh" { // its tables are large
		lives = 15
	}
	for seed := range lives {
		r := rand.New(rand.NewPCG(seed, 7))
		now := clock.Time(r.IntN(1000)) * clock.Second
		m := newModel()
		table := service.NewTable(service.HeapSlots(32), func(name string) (service.Scheduler, error) { return New(name, Env{}) })
		table.SetClassic(seed%2 == 0)
		id := service.ID{Family: 4, Protocol: service.TCP, Addr: netip.MustParseAddr("192.0.2.1"), Port: 80}
		if err := table.AddService(service.Spec{ID: id, Scheduler: name, Flags: service.SchedFlags(seed & 3)}); err != nil {
			t.Fatal(err)
		}
		v, _ := table.Service(id)
		m.changed(nil, service.Init, nil)
		type conn struct {
			server *service.Server
			active bool
		}
		var conns []conn
		spec := func() service.ServerSpec {
			s := service.ServerSpec{Method: service.NAT, Weight: int32(r.IntN(7))}
			s.Addr, s.Port = netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + r.IntN(7))}), 80
			if r.IntN(8) == 0 {
				s.Weight = int32(r.IntN(4)) * 100
			}
			if r.IntN(2) == 0 {
				s.Upper = uint32(r.IntN(8))
				s.Lower = uint32(r.IntN(int(s.Upper) + 1))
			}
			return s
		}
		for step := range 400 {
			now += clock.Time(r.IntN(20)) * clock.Second
			if r.IntN(100) == 0 {
				now += clock.Time(r.IntN(30)) * 3600 * clock.Second
			}
			s := spec()
			switch op := r.IntN(16); {
			case op == 0:
				if table.AddServer(id, s) == nil {
					m.changed(v.Servers, service.ServerAdded, v.Servers[0])
				}
			case op == 1:
				if d, err := table.Server(id, s.ServerID); err == nil {
					if err := table.EditServer(id, s); err != nil {
						t.Fatal(err)
					}
					m.changed(v.Servers, service.ServerEdited, d)
				}
			case op == 2 && step%2 == 0:
				if d, err := table.Server(id, s.ServerID); err == nil {
					if err := table.DeleteServer(id, s.ServerID); err != nil {
						t.Fatal(err)
					}
					m.changed(v.Servers, service.ServerRemoved, d)
				}
			case op <= 5 && len(conns) > 0:
				i := r.IntN(len(conns))
				c := conns[i]
				if c.active && r.IntN(2) == 0 {
					c.server.Deactivate()
					conns[i].active = false
					break
				}
				c.server.Unbind(false, c.active)
				conns = append(conns[:i], conns[i+1:]...)
			default:
				q := service.Request{
					Client: packet.AddrFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.Uint32())})), ClientPort: uint16(r.Uint32()),
					Dst: packet.AddrFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(8))})), DstPort: 80, Protocol: service.TCP,
					Now: int64(now), Flags: v.Flags, Family: 4,
				}
				want := m.pick(v.Servers, &q)
				got := v.Pick(&q)
				if got != want {
					t.Fatalf("seed %d step %d: %s chose %v, its twin %v", seed, step, name, number(got), number(want))
				}
				if got != nil {
					chosen++
					got.Bind(false)
					active := r.IntN(4) != 0
					if active {
						got.Activate()
					}
					conns = append(conns, conn{got, active})
				}
			}
		}
	}
	if chosen < 40*int(lives) {
		t.Errorf("only %d servers chosen", chosen)
	}
}

func number(d *service.Server) string {
	if d == nil {
		return "none"
	}
	return fmt.Sprint(d.ID(), " weight ", d.Weight, " active ", d.Active, " inactive ", d.Inactive)
}

func TestNames(t *testing.T) {
	if got, want := strings.Join(Names(), " "), "dh fo lblc lblcr lc mh nq ovf rr sed sh twos wlc wrr"; got != want {
		t.Errorf("names are %s", got)
	}
	if _, err := New("rrr", Env{}); !errors.Is(err, service.ErrNoScheduler) {
		t.Errorf("unknown name: %v", err)
	}
}

// Every scheduler: an empty list gives none, a choice is usable and in the list, and nothing is allocated.
func TestEveryScheduler(t *testing.T) {
	for _, name := range Names() {
		if got := picks(start(t, name, nil), 3); got != "---" {
			t.Errorf("%s without servers chooses %s", name, got)
		}
		if got := picks(start(t, name, weights(0, 0)), 3); got != "---" {
			t.Errorf("%s with weights of 0 chooses %s", name, got)
		}
		list := weights(1, 3, 0, 2)
		s := start(t, name, list)
		q := service.Request{Family: 4, Protocol: service.UDP, Flags: service.SchedFlag1 | service.SchedFlag2}
		i := uint32(0)
		if n := testing.AllocsPerRun(5000, func() {
			i++
			q.Client, q.Dst = packet.Addr{Hi: 0, Lo: uint64(i)<<32 | 0xffff0000}, packet.Addr{Hi: 0, Lo: uint64(i%3000)<<32 | 0xffff0000}
			q.Now += int64(clock.Second)
			if d := s.Schedule(&q); d != nil {
				if d.Weight == 0 {
					t.Fatalf("%s chooses a quiesced server", name)
				}
				if i%3 == 0 {
					d.Bind(false)
				}
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a choice", name, n)
		}
	}
}

// BenchmarkSchedule reports what a choice costs with 1, 100 and 1000 servers.
func BenchmarkSchedule(b *testing.B) {
	for _, name := range Names() {
		for _, n := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				var list []*service.Server
				for i := range n {
					list = append(list, server(uint32(i), 0, 0, int32(1+i%7)))
				}
				s := start(b, name, list)
				q := service.Request{Family: 4}
				i := uint64(0)
				for b.Loop() {
					i++
					q.Client, q.Dst = packet.Addr{Lo: i<<32 | 0xffff0000}, packet.Addr{Lo: i%1000<<32 | 0xffff0000}
					if d := s.Schedule(&q); d != nil {
						d.Active++
					}
				}
			})
		}
	}
}
