package control

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"syscall"
	"testing"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

var (
	web  = service.ID{Family: 4, Protocol: service.TCP, Addr: netip.MustParseAddr("192.0.2.10"), Port: 80}
	mark = service.ID{Family: 4, Mark: 0x01020304}
)

// desk is a control with all that it can have.
type desk struct {
	*Control
	t     *testing.T
	slots *service.Slots
	flows *flow.Table
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, slots: service.HeapSlots(32)}
	var err error
	d.flows, err = flow.New(make([]byte, flow.Size(1024)), flow.Config{Capacity: 1024, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	d.Control = New(Options{Slots: d.slots, Counters: service.NewCounters(1, 32), Flows: d.flows})
	return d
}

func (d *desk) do(ops ...Op) {
	d.t.Helper()
	for _, op := range ops {
		if err := d.Apply(op, 0); err != nil {
			d.t.Fatalf("%s: %v", op.Kind, err)
		}
	}
}

func (d *desk) refused(op Op, want syscall.Errno) {
	d.t.Helper()
	var e *service.Error
	if err := d.Apply(op, 0); !errors.As(err, &e) || e.Errno != want {
		d.t.Errorf("%+v: %v, want %v", op, err, want)
	}
}

func addService(id service.ID, scheduler string) Op {
	return Op{Kind: AddService, Service: service.Spec{ID: id, Scheduler: scheduler, Netmask: 0xffffffff}}
}

func serverOp(kind Kind, id service.ID, addr string, m service.Method) Op {
	a := netip.MustParseAddrPort(addr)
	return Op{Kind: kind, Service: service.Spec{ID: id}, Server: service.ServerSpec{
		ServerID: service.ServerID{Addr: a.Addr(), Port: a.Port()}, Method: m, Weight: 1,
	}}
}

// connect makes a connection to a server, as a worker does; state is TCP's.
func (d *desk) connect(s *service.Server, client byte, flags uint32, state uint8, deadline clock.Time) flow.Ref {
	d.t.Helper()
	r := d.flows.Alloc(0)
	c := d.flows.Conn(r)
	*c = flow.Conn{
		Client: packet.AddrFrom(netip.AddrFrom4([4]byte{198, 51, 100, client})), Virtual: packet.AddrFrom(web.Addr), CPort: 1024, VPort: 80,
		DPort: s.Port, Proto: service.TCP, Server: s.Number, Flags: flags | uint32(state)<<flow.StateShift, Deadline: int64(deadline),
		Dest: s.Addr, Timeout: int64(60 * clock.Second), Service: s.Service, InPkts: 1,
	}
	if flags&flow.FlagTemplate != 0 {
		c.CPort = 0
	}
	s.Bind(flags&flow.FlagTemplate != 0)
	if flags&(flow.FlagTemplate|flow.FlagInactive) == 0 {
		s.Activate()
	}
	if _, won := d.flows.Insert(0, r); !won {
		d.t.Fatal("not inserted")
	}
	return r
}

func (d *desk) server(id service.ID, addr string) *service.Server {
	d.t.Helper()
	a := netip.MustParseAddrPort(addr)
	s, err := d.table.Server(id, service.ServerID{Addr: a.Addr(), Port: a.Port()})
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

func TestApplyErrors(t *testing.T) {
	d := newDesk(t)
	one := serverOp(AddServer, web, "10.0.0.1:80", service.NAT)
	d.refused(one, syscall.ESRCH)
	d.refused(Op{Kind: Zero, Service: service.Spec{ID: web}}, syscall.ESRCH)
	d.refused(addService(web, "bogus"), syscall.ENOENT)
	d.do(addService(web, "rr"), one)
	d.refused(one, syscall.EEXIST)
	d.refused(addService(web, "rr"), syscall.EEXIST)
	d.refused(serverOp(DeleteServer, web, "10.0.0.2:80", 0), syscall.ENOENT)
	d.refused(Op{Kind: SetTunable, Name: "drop_entry", Value: "4"}, syscall.EINVAL)
	d.refused(Op{Kind: SetTimeouts, Timeouts: service.Timeouts{UDP: 1 << 31}}, syscall.EINVAL)
	d.refused(Op{}, syscall.EINVAL)
	d.do(Op{Kind: SetTimeouts, Timeouts: service.Timeouts{UDP: 7}})
	if got, _ := d.Timeouts(); got != (service.Timeouts{TCP: 900, TCPFin: 120, UDP: 7}) {
		t.Errorf("timeouts %v", got)
	}
	d.do(Op{Kind: DeleteService, Service: service.Spec{ID: web}})
	d.refused(Op{Kind: DeleteService, Service: service.Spec{ID: web}}, syscall.ESRCH)
}

// The sync daemons' answers are those of the recorded transcripts (golden cli, daemon-…).
func TestDaemons(t *testing.T) {
	d := newDesk(t)
	d.o.Link = func(name string) (uint32, bool, bool) {
		return 1500, name != "down0", name == "sync0" || name == "down0"
	}
	start := func(state DaemonState, iface string) Op {
		return Op{Kind: StartDaemon, Daemon: Daemon{State: state, Interface: iface}}
	}
	d.refused(start(Backup, "eth0"), syscall.ENODEV)
	d.refused(start(Master, "down0"), syscall.ENETUNREACH)
	d.refused(Op{Kind: StopDaemon, Daemon: Daemon{State: Master}}, syscall.ESRCH)
	d.do(start(Backup, "sync0"))
	op := start(Master, "sync0")
	op.Daemon.Group, op.Daemon.SyncID, op.Daemon.TTL = netip.MustParseAddr("ff02::81"), 7, 3
	d.do(op)
	d.refused(op, syscall.EEXIST)
	got, _ := d.Daemons()
	want := []Daemon{
		{State: Master, Interface: "sync0", SyncID: 7, MaxLen: 1452, Group: netip.MustParseAddr("ff02::81"), Port: 8848, TTL: 3},
		{State: Backup, Interface: "sync0", MaxLen: 1472, Group: syncGroup, Port: 8848, TTL: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("daemons %+v", got)
	}
	d.do(addService(web, "rr"))
	mixed := serverOp(AddServer, web, "[2001:db8::1]:80", service.Tunnel)
	d.refused(mixed, syscall.EINVAL)
	d.do(Op{Kind: StopDaemon, Daemon: Daemon{State: Master}}, Op{Kind: StopDaemon, Daemon: Daemon{State: Backup}}, mixed)
	d.refused(start(Backup, "sync0"), syscall.EINVAL)
}

// net is a resolver of three addresses.
type net map[string]neigh.Result

func (n net) Route(a packet.Addr) neigh.Result { return n[a.String()] }

func TestPublish(t *testing.T) {
	d := newDesk(t)
	if d.Publish(neigh.Empty()).Services.Enabled {
		t.Error("enabled without a service")
	}
	d.do(addService(web, "wlc"), serverOp(AddServer, web, "10.0.0.1:80", service.DR), serverOp(AddServer, web, "10.0.0.2:80", service.NAT),
		serverOp(AddServer, web, "10.0.0.3:80", service.NAT), serverOp(DeleteServer, web, "10.0.0.3:80", 0))
	gue := serverOp(AddServer, web, "10.0.0.4:80", service.Tunnel)
	gue.Server.Tunnel, gue.Server.TunPort, gue.Server.TunSum = service.GUE, 6080, service.RemoteChecksum
	d.do(gue, Op{Kind: SetTimeouts, Timeouts: service.Timeouts{TCP: 10, TCPFin: 20, UDP: 30}})
	src := packet.AddrFrom(netip.MustParseAddr("10.0.0.254"))
	p := d.Publish(net{
		"10.0.0.1": {Kind: neigh.Unicast, Hop: 7, Interface: 1, MTU: 1500, Source: src},
		"10.0.0.2": {Kind: neigh.LocalAddr},
		"10.0.0.4": {Kind: neigh.Unicast, Interface: 2, MTU: 9000, Source: src},
	})
	want := []service.Target{
		{},
		{Addr: addr("10.0.0.1"), Source: src, Hop: 7, Interface: 1, MTU: 1500, Service: 1, Port: 80, Family: 4, Method: service.DR, Kind: service.TargetUnicast, Available: true},
		{Addr: addr("10.0.0.2"), Service: 1, Port: 80, Family: 4, Method: service.NAT, Kind: service.TargetLocal, Available: true},
		{Addr: addr("10.0.0.3"), Service: 1, Port: 80, Family: 4, Method: service.NAT, Kind: service.TargetUnreachable},
		{Addr: addr("10.0.0.4"), Source: src, Interface: 2, MTU: 9000, Service: 1, Port: 80, TunPort: 6080, Family: 4, Method: service.Tunnel, Tunnel: service.GUE, TunSum: service.RemoteChecksum, Kind: service.TargetUnicast, Available: true},
	}
	if !reflect.DeepEqual(p.Services.Targets, want) {
		t.Errorf("targets\n%+v, want\n%+v", p.Services.Targets, want)
	}
	if p.Timeouts.TCP[flow.TCPEstablished] != 10e9 || p.Timeouts.TCP[flow.TCPFinWait] != 20e9 || p.Timeouts.UDP != 30e9 || p.Timeouts.TCP[flow.TCPSynRecv] != 60e9 {
		t.Errorf("timeouts %+v", p.Timeouts)
	}
	d.do(Op{Kind: Flush})
	if q := d.Publish(neigh.Empty()); q.Services.Enabled || !p.Services.Enabled || q.Services.Targets[1].Available {
		t.Error("flush leaves something, or changes what was published")
	}
}

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func TestAddressKinds(t *testing.T) {
	d := newDesk(t)
	s, err := neigh.NewStatic(neigh.StaticConfig{Interfaces: []neigh.StaticInterface{{
		Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.254/24")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	d.Publish(s.Snapshot())
	for a, want := range map[string]service.AddrKind{
		"10.2.0.254": service.AddrLocal, "10.2.0.255": service.AddrBroadcast, "10.2.0.0": service.AddrUnicast, "10.3.0.255": service.AddrUnicast,
	} {
		if got := d.kind(addr(a)); got != want {
			t.Errorf("%s is %v, want %v", a, got, want)
		}
	}
}

func TestExportImport(t *testing.T) {
	d := newDesk(t)
	three := serverOp(AddServer, web, "10.0.0.3:8080", service.NAT)
	three.Server.Weight, three.Server.Upper, three.Server.Lower = 0, 9, 3
	d.do(Op{Kind: SetTunable, Name: "sync_threshold", Value: "2 9"}, Op{Kind: SetTunable, Name: "overhead", Value: "classic"},
		Op{Kind: SetTimeouts, Timeouts: service.Timeouts{TCP: 5}}, Op{Kind: SetMarks, Marks: []service.Mark{{Mark: 1, Protocol: 6, Ports: []uint16{80}}}},
		addService(web, "mh"), addService(mark, ""), serverOp(AddServer, web, "10.0.0.1:80", service.DR),
		serverOp(AddServer, web, "10.0.0.2:80", service.DR), three, serverOp(AddServer, mark, "10.0.0.1:0", service.DR),
		Op{Kind: StartDaemon, Daemon: Daemon{State: Master, Interface: "sync0", SyncID: 9}})
	text, err := json.Marshal(d.Export())
	if err != nil {
		t.Fatal(err)
	}
	var ops []Op
	if err := json.Unmarshal(text, &ops); err != nil {
		t.Fatal(err)
	}
	e := newDesk(t)
	if err := e.Import(ops, 0); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(e.Export())
	if err != nil || string(again) != string(text) {
		t.Errorf("imported\n%s\nexported\n%s", text, again)
	}
	a, _ := d.Services()
	b, _ := e.Services()
	if !reflect.DeepEqual(a, b) {
		t.Errorf("services\n%+v\n%+v", a, b)
	}
	if err := e.Import(ops, 0); !errors.Is(err, service.ErrServiceExists) || !errors.Is(err, service.ErrServerExists) {
		t.Errorf("imported twice: %v", err)
	}
}

func TestExpireNoDest(t *testing.T) {
	d := newDesk(t)
	d.do(addService(web, "rr"), serverOp(AddServer, web, "10.0.0.1:80", service.NAT), serverOp(AddServer, web, "10.0.0.2:80", service.NAT))
	s, keep := d.server(web, "10.0.0.1:80"), d.server(web, "10.0.0.2:80")
	r := d.connect(s, 1, 0, flow.TCPEstablished, 900e9)
	k := d.connect(keep, 2, 0, flow.TCPEstablished, 900e9)
	m := d.connect(s, 3, flow.FlagTemplate|flow.FlagAssured, 0, 900e9)
	d.flows.Conn(m).NControl = 1
	del := serverOp(DeleteServer, web, "10.0.0.1:80", 0)
	d.do(del)
	if d.flows.Conn(r).Deadline != 900e9 {
		t.Error("expired without expire_nodest_conn")
	}
	d.do(serverOp(AddServer, web, "10.0.0.1:80", service.NAT), Op{Kind: SetTunable, Name: "expire_nodest_conn", Value: "1"})
	if err := d.Apply(del, 5); err != nil {
		t.Fatal(err)
	}
	if c := d.flows.Conn(r); c.Deadline != 5 || c.Flags&flow.FlagDropChain == 0 {
		t.Errorf("deadline %d flags %#x", c.Deadline, c.Flags)
	}
	if d.flows.Conn(k).Deadline != 900e9 || d.flows.Conn(m).Deadline != 900e9 {
		t.Error("others expired too")
	}
	if d.flows.Conn(m).Flags&flow.FlagAssured != 0 {
		t.Error("the template would stay when its last connection goes")
	}
}

func TestAdopt(t *testing.T) {
	d := newDesk(t)
	d.do(addService(mark, "rr"), addService(web, "rr"), serverOp(AddServer, web, "10.0.0.1:80", service.NAT), serverOp(AddServer, web, "10.0.0.2:80", service.NAT))
	s, lost := d.server(web, "10.0.0.1:80"), d.server(web, "10.0.0.2:80")
	a := d.connect(s, 1, 0, flow.TCPEstablished, 900e9)
	d.connect(s, 2, flow.FlagInactive, flow.TCPTimeWait, 900e9)
	d.connect(s, 3, flow.FlagTemplate, 0, 900e9)
	gone := d.connect(lost, 4, 0, flow.TCPEstablished, 900e9)
	d.flows.Conn(a).Hop = 7<<8 | 1
	lost.Addr = addr("10.0.0.9") // the slot is somebody else's
	s.Bind(false)                // a crash between two counts

	e := &desk{t: t, slots: d.slots, flows: d.flows}
	mem := make([]byte, service.SlotsSize(32))
	slots, err := service.NewSlots(mem)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(2) {
		*slots.Get(i + 1) = *d.slots.Get(i + 1)
	}
	if e.slots, err = service.OpenSlots(mem); err != nil {
		t.Fatal(err)
	}
	e.Control = New(Options{Slots: e.slots, Counters: service.NewCounters(1, 32), Flows: e.flows})
	e.do(addService(web, "rr"), serverOp(AddServer, web, "10.0.0.1:80", service.NAT))
	if n := e.Adopt(7); n != 3 {
		t.Errorf("%d adopted, want 3", n)
	}
	got := e.server(web, "10.0.0.1:80")
	if got.Number != s.Number || got.Active != 1 || got.Inactive != 1 || got.Persistent != 1 {
		t.Errorf("server %+v", got)
	}
	if c := e.flows.Conn(a); c.Service != 1 || c.Hop != 0 {
		t.Errorf("the connection's service is %d, its next hop still %#x, a number of the dead process", c.Service, c.Hop)
	}
	if c := e.flows.Conn(gone); c.Deadline != 7 || c.Server != 0 {
		t.Errorf("the lost server's connection has deadline %d", c.Deadline)
	}
}
