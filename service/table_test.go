package service

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
)

// first is a scheduler that takes the head of the list and notes what it is told.
type first struct {
	servers []*Server
	events  []Event
}

func (f *first) Update(servers []*Server, ev Event, _ *Server) {
	f.servers, f.events = servers, append(f.events, ev)
}

func (f *first) Schedule(*Request) *Server {
	if len(f.servers) == 0 {
		return nil
	}
	return f.servers[0]
}

// small is a scheduler that takes two servers.
type small struct{ first }

func (*small) Limit() int { return 2 }

func newTable(t *testing.T, capacity int) (*Table, *Slots) {
	t.Helper()
	slots := HeapSlots(capacity)
	return NewTable(slots, func(name string) (Scheduler, error) {
		switch name {
		case "first", "other":
			return &first{}, nil
		case "small":
			return &small{}, nil
		}
		return nil, ErrNoScheduler
	}), slots
}

var web = ID{Family: 4, Protocol: TCP, Addr: netip.MustParseAddr("192.0.2.10"), Port: 80}

func spec(id ID, scheduler string) Spec {
	s := Spec{ID: id, Scheduler: scheduler, Netmask: 0xffffffff}
	if id.Family == 6 {
		s.Netmask = 128
	}
	return s
}

func real(addr string, weight int32) ServerSpec {
	a := netip.MustParseAddrPort(addr)
	return ServerSpec{ServerID: ServerID{a.Addr(), a.Port()}, Method: NAT, Weight: weight}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err error, want *Error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	var e *Error
	if !errors.As(err, &e) || e.Errno != want.Errno {
		t.Errorf("%v: no errno %v", err, want.Errno)
	}
}

func order(s *Service) (list []string) {
	for _, d := range s.Servers {
		list = append(list, d.ID().String())
	}
	return list
}

func TestServiceErrors(t *testing.T) {
	tb, _ := newTable(t, 8)
	wantErr(t, tb.AddService(spec(web, "bogus")), ErrNoScheduler)
	must(t, tb.AddService(spec(web, "first")))
	wantErr(t, tb.AddService(spec(web, "bogus")), ErrServiceExists) // before the scheduler is looked up
	other := web
	other.Port = 81
	wantErr(t, tb.EditService(spec(other, "bogus")), ErrNoService)
	wantErr(t, tb.DeleteService(other), ErrNoService)
	wantErr(t, tb.Zero(other), ErrNoService)
	wantErr(t, tb.EditService(spec(web, "bogus")), ErrNoScheduler)
	pe := spec(web, "first")
	pe.Engine = "bogus"
	wantErr(t, tb.EditService(pe), ErrNoScheduler)
	six := spec(ID{Family: 6, Protocol: TCP, Addr: netip.MustParseAddr("2001:db8::1"), Port: 80}, "first")
	for _, n := range []uint32{0, 129} {
		six.Netmask = n
		wantErr(t, tb.AddService(six), ErrInvalid)
	}
	wantErr(t, tb.AddService(Spec{ID: ID{Mark: 1}}), ErrFamily)
	if n := len(tb.Services()); n != 1 {
		t.Errorf("%d services after refusals, want 1", n)
	}
	must(t, tb.AddService(Spec{ID: other}))
	if s, _ := tb.Service(other); s.Scheduler != None || s.Pick(&Request{}) != nil {
		t.Error("a service without scheduler has one")
	}
}

func TestServerErrors(t *testing.T) {
	tb, _ := newTable(t, 3)
	wantErr(t, tb.AddServer(web, real("10.0.0.1:80", 1)), ErrNoService)
	must(t, tb.AddService(spec(web, "small")))
	bad := real("224.0.0.1:80", -1)
	bad.Lower = 5
	wantErr(t, tb.AddServer(web, bad), ErrRange)
	bad.Weight = 1
	wantErr(t, tb.AddServer(web, bad), ErrRange)
	bad.Lower, bad.Tunnel = 0, GUE
	wantErr(t, tb.AddServer(web, bad), ErrInvalid)
	wantErr(t, tb.AddServer(web, real("224.0.0.1:80", 1)), ErrInvalid)
	mixed := real("[2001:db8::2]:80", -1)
	wantErr(t, tb.AddServer(web, mixed), ErrInvalid) // before the weight
	mixed.Method, mixed.Weight = Tunnel, 1
	tb.Syncing = true
	wantErr(t, tb.AddServer(web, mixed), ErrInvalid)
	tb.Syncing = false
	must(t, tb.AddServer(web, mixed))
	must(t, tb.AddServer(web, real("10.0.0.1:80", 1)))
	wantErr(t, tb.AddServer(web, real("10.0.0.1:80", -1)), ErrRange) // before the existence
	wantErr(t, tb.AddServer(web, real("10.0.0.1:80", 1)), ErrServerExists)
	wantErr(t, tb.AddServer(web, real("10.0.0.3:80", 1)), ErrInvalid) // the scheduler takes two
	wantErr(t, tb.EditServer(web, real("10.0.0.3:80", 1)), ErrNoServer)
	wantErr(t, tb.DeleteServer(web, real("10.0.0.3:80", 1).ServerID), ErrNoServer)
	must(t, tb.EditService(spec(web, "first")))
	must(t, tb.AddServer(web, real("10.0.0.3:80", 1)))
	wantErr(t, tb.EditService(spec(web, "small")), ErrInvalid)
	wantErr(t, tb.AddServer(web, real("10.0.0.4:80", 1)), ErrFull)
}

// The answers are those of Linux 7.3.
func TestServerAddresses(t *testing.T) {
	six := ID{Family: 6, Protocol: TCP, Addr: netip.MustParseAddr("2001:db8::10"), Port: 80}
	for addr, ok := range map[string]bool{
		"10.2.0.255": false, "10.2.0.0": true, "0.0.0.0": false, "0.1.2.3": true, "240.0.0.1": true,
		"255.255.255.255": false, "224.0.0.1": false, "127.0.0.1": true, "192.0.2.10": true,
		"fe80::1234": false, "::": false, "::1": true, "ff02::1": false, "::10.2.0.11": true, "fe80::1": true,
	} {
		tb, _ := newTable(t, 8)
		tb.Kind = func(a packet.Addr) AddrKind {
			switch a.String() {
			case "10.2.0.255":
				return AddrBroadcast
			case "127.0.0.1", "192.0.2.10", "::1", "fe80::1":
				return AddrLocal
			}
			return AddrUnicast
		}
		id, a := web, netip.MustParseAddr(addr)
		if a.Is6() {
			id = six
		}
		must(t, tb.AddService(spec(id, "first")))
		err := tb.AddServer(id, ServerSpec{ServerID: ServerID{a, 80}, Method: DR, Weight: 1})
		if (err == nil) != ok {
			t.Errorf("%s: %v, want accepted %v", addr, err, ok)
		}
	}
}

func TestListOrder(t *testing.T) {
	tb, _ := newTable(t, 8)
	must(t, tb.AddService(spec(web, "first")))
	for i := 1; i <= 3; i++ {
		must(t, tb.AddServer(web, real(fmt.Sprintf("10.0.0.%d:80", i), 1)))
	}
	s, _ := tb.Service(web)
	check := func(want ...string) {
		t.Helper()
		if got := order(s); !slices.Equal(got, want) {
			t.Errorf("list is %v, want %v", got, want)
		}
	}
	check("10.0.0.3:80", "10.0.0.2:80", "10.0.0.1:80")
	must(t, tb.EditServer(web, real("10.0.0.1:80", 5)))
	check("10.0.0.3:80", "10.0.0.2:80", "10.0.0.1:80")
	must(t, tb.DeleteServer(web, real("10.0.0.2:80", 0).ServerID))
	check("10.0.0.3:80", "10.0.0.1:80")
	must(t, tb.AddServer(web, real("10.0.0.2:80", 1)))
	check("10.0.0.2:80", "10.0.0.3:80", "10.0.0.1:80")
	if d := s.Servers[2]; d.Weight != 5 || d.LastWeight != 5 {
		t.Errorf("edited weight is %d, last %d", d.Weight, d.LastWeight)
	}
	must(t, tb.EditServer(web, real("10.0.0.1:80", 0)))
	if d := s.Servers[2]; d.Weight != 0 || d.LastWeight != 5 {
		t.Errorf("quiesced weight is %d, last %d", d.Weight, d.LastWeight)
	}
}

func TestSchedulerLife(t *testing.T) {
	tb, _ := newTable(t, 8)
	must(t, tb.AddService(spec(web, "first")))
	must(t, tb.AddServer(web, real("10.0.0.1:80", 1)))
	frozen := tb.Snapshot().Services[0]
	s, _ := tb.Service(web)
	p := s.picker.scheduler.(*first)
	e := spec(web, "first")
	e.OnePacket = true
	must(t, tb.EditService(e))
	if s.picker.scheduler != Scheduler(p) || !s.OnePacket || frozen.OnePacket {
		t.Error("an edit that keeps the scheduler's name loses its state, or changes a snapshot")
	}
	must(t, tb.EditServer(web, real("10.0.0.1:80", 2)))
	must(t, tb.DeleteServer(web, real("10.0.0.1:80", 2).ServerID))
	if want := []Event{Init, ServerAdded, ServerEdited, ServerRemoved}; !slices.Equal(p.events, want) {
		t.Errorf("events %v, want %v", p.events, want)
	}
	must(t, tb.EditService(spec(web, "other")))
	if s.picker.scheduler == Scheduler(p) {
		t.Error("another scheduler keeps the state of the first")
	}
}

func TestDefer(t *testing.T) {
	tb, _ := newTable(t, 8)
	tb.Defer = true
	must(t, tb.AddService(spec(web, "first")))
	must(t, tb.AddServer(web, real("10.0.0.1:80", 1)))
	s, _ := tb.Service(web)
	p := s.picker.scheduler.(*first)
	if len(p.servers) != 1 {
		t.Error("a service that nobody knows yet waits for its server")
	}
	tb.Snapshot()
	must(t, tb.AddServer(web, real("10.0.0.2:80", 1)))
	must(t, tb.AddServer(web, real("10.0.0.3:80", 1)))
	if len(p.servers) != 1 || len(tb.Snapshot().Services[0].Servers) != 3 {
		t.Error("the scheduler hears of a server before the workers do")
	}
	tb.Settle()
	if len(p.servers) != 3 || p.servers[0] != s.Servers[0] {
		t.Error("the scheduler was not told")
	}
	must(t, tb.AddServer(web, real("10.0.0.4:80", 1)))
	must(t, tb.DeleteServer(web, real("10.0.0.1:80", 1).ServerID))
	tb.Settle()
	want := []Event{Init, ServerAdded, ServerAdded, ServerAdded, ServerAdded, ServerRemoved}
	if !slices.Equal(p.events, want) || len(p.servers) != 3 {
		t.Errorf("events %v, want %v", p.events, want)
	}
}

func TestTrash(t *testing.T) {
	tb, slots := newTable(t, 2)
	must(t, tb.AddService(spec(web, "first")))
	must(t, tb.AddServer(web, real("10.0.0.1:80", 1)))
	s, _ := tb.Service(web)
	d := s.Servers[0]
	d.Bind(false)
	d.Activate()
	must(t, tb.DeleteService(web))
	if d.Available() || tb.Trash() != 1 || tb.Snapshot().Enabled {
		t.Fatal("a deleted service's server is not in the trash")
	}
	for m := range clock.Time(10) {
		if n := tb.EmptyTrash(m * 60 * clock.Second); n != 0 {
			t.Fatal("a server with a connection was freed")
		}
	}
	must(t, tb.AddService(spec(web, "first")))
	must(t, tb.AddServer(web, real("10.0.0.1:80", 0)))
	s, _ = tb.Service(web)
	if s.Servers[0] != d || !d.Available() || d.Active != 1 || d.Weight != 0 || d.LastWeight != 0 {
		t.Fatal("the server was not revived with its counts")
	}
	must(t, tb.DeleteServer(web, d.ID()))
	d.Unbind(false, true)
	for i, want := range []int{0, 0, 1} { // idle from the first look on
		if n := tb.EmptyTrash(clock.Time(i) * 60 * clock.Second); n != want {
			t.Errorf("run %d freed %d, want %d", i, n, want)
		}
	}
	if slots.Used() != 0 || tb.Trash() != 0 {
		t.Error("the slot was not freed")
	}
}

// A server of the same address is not taken for another service's.
func TestTrashIdentity(t *testing.T) {
	tb, _ := newTable(t, 8)
	udp := web
	udp.Protocol = UDP
	must(t, tb.AddService(spec(web, "first")))
	must(t, tb.AddService(spec(udp, "first")))
	must(t, tb.AddServer(web, real("10.0.0.1:80", 1)))
	must(t, tb.DeleteServer(web, real("10.0.0.1:80", 1).ServerID))
	must(t, tb.AddServer(udp, real("10.0.0.1:80", 1)))
	if tb.Trash() != 1 {
		t.Error("a server of another service was revived")
	}
	tb.Flush()
	if tb.Trash() != 2 || len(tb.Services()) != 0 {
		t.Error("flush left something")
	}
}

func TestOpenSlots(t *testing.T) {
	mem := make([]byte, SlotsSize(4))
	slots, err := NewSlots(mem)
	must(t, err)
	maker := func(string) (Scheduler, error) { return &first{}, nil }
	tb := NewTable(slots, maker)
	must(t, tb.AddService(spec(web, "first")))
	must(t, tb.AddServer(web, real("10.0.0.1:80", 1)))
	must(t, tb.AddServer(web, real("10.0.0.2:80", 1)))
	slots.Get(2).Bind(false)

	slots, err = OpenSlots(mem) // the next process
	must(t, err)
	tb = NewTable(slots, maker)
	if tb.Trash() != 2 {
		t.Fatalf("%d adopted, want 2", tb.Trash())
	}
	must(t, tb.AddService(spec(web, "first")))
	must(t, tb.AddServer(web, real("10.0.0.3:80", 1)))
	must(t, tb.AddServer(web, real("10.0.0.2:80", 1)))
	s, _ := tb.Service(web)
	if d := s.Servers[0]; d.Number != 2 || d.Inactive != 1 || !d.Available() {
		t.Errorf("adopted server is %+v", d)
	}
	if d := s.Servers[1]; d.Number != 3 {
		t.Errorf("new server has slot %d, want 3", d.Number)
	}
	mem[3]++
	if _, err := OpenSlots(mem); !errors.Is(err, ErrBadSlots) {
		t.Errorf("damaged memory: %v", err)
	}
	if _, err := NewSlots(mem[:100]); err == nil {
		t.Error("100 bytes are enough for a table")
	}
}

func TestErrorIsErrno(t *testing.T) {
	if !errors.Is(fmt.Errorf("x: %w", ErrNoService), syscall.ESRCH) {
		t.Error("ErrNoService is not ESRCH")
	}
}
