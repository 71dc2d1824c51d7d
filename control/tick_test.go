package control

import (
	"net/netip"
	"testing"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// The figures are the worked example of spec/connections.md 12.1: 100 packets/s, and 1000 bytes/s.
func TestRates(t *testing.T) {
	d := newDesk(t)
	d.do(addService(web, "rr"), serverOp(AddServer, web, "10.0.0.1:80", service.NAT))
	line := d.o.Counters.Line(0, 1)
	shown := func() (s, v, total service.Stats) {
		list, _ := d.Services()
		_, total = d.Total()
		return list[0].Servers[0].Rates, list[0].Rates, total
	}
	period := func(now clock.Time) {
		for range 200 {
			line.In(10)
			line.Conn()
		}
		d.Tick(now - clock.Second)
		d.Tick(now)
	}
	d.Tick(clock.Second)
	for i, want := range []uint64{25, 44, 58, 68, 76} {
		period(clock.Time(i+1) * 2 * clock.Second)
		s, v, total := shown()
		if s != v || v != total || s.InPkts != want || s.Conns != want {
			t.Errorf("period %d: %v %v %v, want %d", i, s, v, total, want)
		}
		if i < 3 && s.InBytes != []uint64{250, 437, 578}[i] {
			t.Errorf("period %d: %d bytes/s", i, s.InBytes)
		}
	}
	d.do(Op{Kind: SetTunable, Name: "run_estimation", Value: "0"})
	period(12 * clock.Second)
	if s, _, _ := shown(); s.InPkts != 76 {
		t.Errorf("without estimation: %d", s.InPkts)
	}
	d.do(Op{Kind: SetTunable, Name: "run_estimation", Value: "1"}, Op{Kind: Zero})
	if s, v, total := shown(); s != (service.Stats{}) || v != s || total != s {
		t.Errorf("zeroed: %v %v %v", s, v, total)
	}
	list, _ := d.Services()
	if list[0].Stats != (service.Stats{}) || list[0].Servers[0].Stats != (service.Stats{}) {
		t.Error("statistics were not zeroed")
	}
	period(14 * clock.Second)
	if s, _, _ := shown(); s.InPkts != 25 {
		t.Errorf("a period after -Z: %d", s.InPkts)
	}
	d.Tick(1 << 60) // years later
	if s, v, total := shown(); s != (service.Stats{}) || v != s || total != s {
		t.Errorf("at rest: %v %v %v", s, v, total)
	}
}

func TestTrashIsEmptied(t *testing.T) {
	d := newDesk(t)
	d.do(addService(web, "rr"), serverOp(AddServer, web, "10.0.0.1:80", service.NAT), serverOp(DeleteServer, web, "10.0.0.1:80", 0))
	for s := clock.Time(1); s < 180; s++ {
		if d.Tick(s * clock.Second); d.slots.Used() != 1 {
			t.Fatalf("freed after %d s", s)
		}
	}
	if d.Tick(180 * clock.Second); d.slots.Used() != 0 {
		t.Error("not freed after 60 s and 120 s idle")
	}
}

func TestConnections(t *testing.T) {
	d := newDesk(t)
	d.do(addService(web, "rr"), serverOp(AddServer, web, "10.0.0.1:8080", service.NAT))
	s := d.server(web, "10.0.0.1:8080")
	d.connect(s, 1, 0, flow.TCPEstablished, 900e9)
	m := d.connect(s, 2, flow.FlagTemplate|flow.FlagAssured, 0, 100e9)
	d.flows.SetEngineData(0, m, []byte("xxx"))
	r := d.flows.Alloc(0)
	*d.flows.Conn(r) = flow.Conn{ // a template of a mark's service, bound to nothing yet
		Client: addr("198.51.100.0"), Virtual: packet.AddrFrom(netip.MustParseAddr("1.2.3.4")), Mark: mark.Mark, Flags: flow.FlagTemplate, Deadline: 5e9,
	}
	d.flows.Insert(0, r)
	want := []ConnEntry{
		{Protocol: 6, State: "ESTABLISHED", Expires: 890, Client: ap("198.51.100.1:1024"), Virtual: ap("192.0.2.10:80"), Server: ap("10.0.0.1:8080")},
		{Protocol: 6, State: "ASSURED", Expires: 90, Client: ap("198.51.100.2:0"), Virtual: ap("192.0.2.10:80"), Server: ap("10.0.0.1:8080"), Engine: "sip", Data: "xxx"},
		{State: "NONE", Client: ap("198.51.100.0:0"), Virtual: ap("1.2.3.4:0"), Server: ap("0.0.0.0:0")},
	}
	n := 0
	err := d.ConnectionsAt(10e9, func(e ConnEntry) error {
		for _, w := range want {
			if w == e {
				n++
				return nil
			}
		}
		t.Errorf("unexpected %+v", e)
		return nil
	})
	if err != nil || n != 3 {
		t.Errorf("%d of 3 listed: %v", n, err)
	}
	if i, _ := d.Info(); i.Size != 1024 || i.Version != [3]uint8{1, 2, 1} {
		t.Errorf("info %+v", i)
	}
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestActiveAges(t *testing.T) {
	d := newDesk(t)
	d.do(addService(web, "rr"), serverOp(AddServer, web, "10.0.0.1:80", service.DR))
	s := d.server(web, "10.0.0.1:80")
	now := clock.Time(1000 * clock.Second) // the timeout is 60 s: a deadline of now+50 was set 10 s ago
	d.connect(s, 1, 0, flow.TCPEstablished, now+50*clock.Second)
	d.connect(s, 2, 0, flow.TCPSynRecv, now+49*clock.Second)
	d.connect(s, 3, 0, flow.TCPEstablished, now)
	d.connect(s, 4, 0, flow.TCPEstablished, now-1)
	d.connect(s, 5, flow.FlagInactive, flow.TCPTimeWait, now)
	d.connect(s, 6, flow.FlagReplied, flow.TCPSynRecv, now+50*clock.Second)
	want := Ages{Recent: 2, Minute: 2, Longer: 1, Waiting: 1}
	if got := d.ActiveAges(now); got[0] != want || got[s.Number] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	list, err := d.Services()
	if err != nil {
		t.Fatal(err)
	}
	if d.AddAges(list, now); list[0].Servers[0].Ages == nil || *list[0].Servers[0].Ages != want {
		t.Errorf("%+v, want %+v", list[0].Servers[0], want)
	}
}

// A worker that takes a connection off a server may settle before the one that has put it on.
func TestCountsAreNeverShownNegative(t *testing.T) {
	d := newDesk(t)
	d.do(addService(web, "rr"), serverOp(AddServer, web, "10.0.0.1:80", service.NAT))
	s := d.server(web, "10.0.0.1:80")
	for _, c := range []struct {
		active, inactive           int32 // settled
		shownActive, shownInactive uint32
	}{{-1, 1, 0, 1}, {2, -2, 1, 0}, {0, 1, 1, 0}} {
		s.Settle(c.active, c.inactive)
		list, err := d.Services()
		if err != nil {
			t.Fatal(err)
		}
		if e := list[0].Servers[0]; e.Active != c.shownActive || e.Inactive != c.shownInactive {
			t.Errorf("after %+d and %+d: %d active and %d inactive are shown, want %d and %d", c.active, c.inactive, e.Active, e.Inactive,
				c.shownActive, c.shownInactive)
		}
	}
}

// The mode machine of spec/connections.md 11.1, with 100 and 2000 pages left of a threshold of 1024.
func TestDefenceModes(t *testing.T) {
	d := newDesk(t)
	pages := int64(2000)
	d.o.Memory = func() int64 { return pages }
	now := clock.Time(0)
	in := func(want, wantDrop, wantRate int32) {
		t.Helper()
		now += clock.Second
		d.Tick(now)
		p := d.Publish(neigh.Empty()).Tunables
		if p.SecureTCP != want || p.DropPacket != wantDrop || p.AMDropRate != wantRate {
			t.Errorf("at %d s: secure_tcp %d, drop_packet %d rate %d, want %d, %d rate %d", now.Seconds(), p.SecureTCP, p.DropPacket, p.AMDropRate, want, wantDrop, wantRate)
		}
	}
	in(0, 0, 10)
	d.do(Op{Kind: SetTunable, Name: "secure_tcp", Value: "1"}, Op{Kind: SetTunable, Name: "drop_packet", Value: "1"})
	in(0, 0, 10)
	pages = 900
	in(3, 2, 8) // 1024/(1024-900)
	pages = 100
	in(3, 2, 1)
	pages = 2000
	in(0, 0, 10)
	d.do(Op{Kind: SetTunable, Name: "secure_tcp", Value: "3"}, Op{Kind: SetTunable, Name: "drop_packet", Value: "3"})
	if p := d.Publish(neigh.Empty()).Tunables; p.SecureTCP != 3 || p.DropPacket != 3 {
		t.Error("mode 3 waits for the next second")
	}
	in(3, 3, 10)
	d.do(Op{Kind: SetTunable, Name: "secure_tcp", Value: "0"}, Op{Kind: SetTunable, Name: "drop_packet", Value: "0"})
	in(0, 0, 10)
	if got := d.Tunables(); got.SecureTCP != 0 {
		t.Errorf("what was set reads %d", got.SecureTCP)
	}
}

func TestDropEntry(t *testing.T) {
	d := newDesk(t)
	d.do(addService(web, "rr"), serverOp(AddServer, web, "10.0.0.1:80", service.NAT), Op{Kind: SetTunable, Name: "drop_entry", Value: "3"})
	s := d.server(web, "10.0.0.1:80")
	syn := d.connect(s, 1, 0, flow.TCPSynRecv, 1e15)
	live := d.connect(s, 2, 0, flow.TCPEstablished, 1e15)
	wait := d.connect(s, 3, flow.FlagInactive, flow.TCPTimeWait, 1e15)
	none := d.connect(s, 4, flow.FlagTemplate, 0, 1e15)
	assured := d.connect(s, 5, flow.FlagTemplate|flow.FlagAssured, 0, 1e15)
	parent := d.connect(s, 6, 0, flow.TCPSynRecv, 1e15)
	d.flows.Conn(parent).NControl = 1
	idle := d.connect(s, 7, 0, flow.TCPEstablished, 1)
	for now := clock.Second; now < 400*clock.Second; now += clock.Second {
		d.Tick(now)
	}
	dropped := func(r flow.Ref) bool { return d.flows.Conn(r).Flags&flow.FlagDropChain != 0 }
	for r, want := range map[flow.Ref]bool{syn: true, live: false, wait: false, none: true, assured: false, parent: false, idle: true} {
		if dropped(r) != want {
			t.Errorf("connection of client %v dropped: %v", d.flows.Conn(r).Client, !want)
		}
	}
}
