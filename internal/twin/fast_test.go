package twin

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/ipvsadm"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	lvs "github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/worker"
)

// fast is the real dataplane, one worker on memory, behind the same calls as a Twin.
type fast struct {
	cfg      Config
	net      *neigh.Static
	control  *control.Control
	slots    *lvs.Slots
	counters *lvs.Counters
	flows    *flow.Table
	shared   atomic.Pointer[worker.Snapshot]
	w        *worker.Worker
	ports    []*memPort
	frames   *ring.Frames
	total    int
	passed   int
	passedOn []byte // the packet that the kernel got last
	ticked   int64  // the control path's last turn
}

// memPort is a NIC queue in memory: frames put in by receive, frames sent kept in order across ports.
type memPort struct {
	f    *fast
	nic  int
	in   []ring.Desc
	sent *[]Sent
	// begun is the packet of several frames that is being sent, as far as it came.
	begun []byte
}

func (p *memPort) Receive(d []ring.Desc) int {
	n := ring.Whole(p.in[:min(len(d), len(p.in))])
	copy(d, p.in[:n])
	p.in = p.in[n:]
	return n
}

func (p *memPort) Transmit(d []ring.Desc) int {
	for _, x := range d {
		p.begun = append(p.begun, p.f.frames.Bytes(x)...)
		p.f.frames.Put(x.Addr)
		if x.Options&ring.Continued == 0 {
			*p.sent = append(*p.sent, Sent{Interface: p.nic, Frame: p.begun})
			p.begun = nil
		}
	}
	return len(d)
}

func (p *memPort) Complete(*ring.Frames) int { return 0 }
func (p *memPort) Refill(*ring.Frames) int   { return 0 }
func (p *memPort) Kick()                     {}

// Pass takes what is the kernel's.
func (f *fast) Pass(_ int, ip []byte, frames int) bool {
	f.passed += frames
	f.passedOn = append([]byte(nil), ip...)
	return true
}

// Ask is never answered: neighbours are as the configuration has them.
func (f *fast) Ask(int, netip.Addr) {}

func newFast(t testing.TB, cfg Config) dataplane {
	f := &fast{cfg: cfg}
	sc := neigh.StaticConfig{Neighbors: cfg.Neighbors}
	for _, i := range cfg.Interfaces {
		s := neigh.StaticInterface{Name: i.Name, VLAN: i.VLAN, MAC: i.MAC, MTU: i.MTU, Addresses: i.Addrs}
		if i.VLAN != 0 {
			s.Parent = cfg.Interfaces[i.Parent].Name
		}
		sc.Interfaces = append(sc.Interfaces, s)
	}
	for _, r := range cfg.Routes {
		sc.Routes = append(sc.Routes, neigh.StaticRoute{To: r.To, Via: r.Via})
	}
	var err error
	if f.net, err = neigh.NewStatic(sc); err != nil {
		t.Fatal(err)
	}
	f.slots = lvs.HeapSlots(128)
	f.counters = lvs.NewCounters(1, 128)
	if f.flows, err = flow.New(make([]byte, flow.Size(1024)), flow.Config{Capacity: 1024, Seed: [2]uint64{1, 2}, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	f.flows.TrackDeadlines()
	f.control = control.New(control.Options{Slots: f.slots, Counters: f.counters, Flows: f.flows})
	f.frames = ring.NewFrames(make([]byte, 512*ring.FrameSize))
	f.total = f.frames.Len()
	var ports []worker.Port
	sent := new([]Sent)
	for i, n := range cfg.Interfaces {
		if n.Parent == i {
			p := &memPort{f: f, nic: i, sent: sent}
			f.ports, ports = append(f.ports, p), append(ports, p)
		}
	}
	f.publish()
	f.w, err = worker.New(worker.Config{
		Frames: f.frames, Ports: ports, Flows: f.flows, Slots: f.slots, Counters: f.counters, Snapshots: &f.shared, Pass: f, Ask: f,
		Segments: slices.Repeat([]int{ring.MaxSegments}, len(ports)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// publish gives the worker the present state.
func (f *fast) publish() {
	net := f.net.Snapshot()
	p := f.control.Publish(net)
	portOf := make([]int16, len(net.Interfaces))
	for i := range portOf {
		portOf[i] = int16(net.Interfaces[i].Parent)
	}
	f.shared.Store(worker.NewSnapshot(p.Services, net, p.Timeouts, p.Tunables, portOf, f.shared.Load()))
}

// advance runs timers: the worker's at once, the control path's every second.
func (f *fast) advance(now int64) {
	if f.ticked == 0 {
		f.ticked = now
	}
	for f.ticked+second <= now {
		f.ticked += second
		for d := f.flows.NextDeadline(); d <= f.ticked; d = f.flows.NextDeadline() {
			f.round(d)
		}
		f.round(f.ticked)
		if f.control.Tick(clock.Time(f.ticked)) {
			f.publish()
		}
	}
	for d := f.flows.NextDeadline(); d <= now; d = f.flows.NextDeadline() {
		f.round(d)
	}
	f.round(now)
}

// round turns the worker until nothing is due.
func (f *fast) round(now int64) {
	f.w.Round(clock.Time(now))
	for range 10 {
		if f.flows.NextDeadline() > now && int64(f.w.Wake()) > now {
			break
		}
		f.w.Round(clock.Time(now))
	}
}

// receive gives the worker one frame; what does not bear the interface's address never reaches it.
func (f *fast) receive(now int64, nic int, frame []byte) Outcome {
	f.advance(now)
	before := f.reasons()
	*f.ports[nic].sent = nil
	f.passedOn = nil
	f.take(now, nic, frame)
	o := Outcome{Sent: append([]Sent(nil), *f.ports[nic].sent...), Verdict: Hold, Passed: f.passedOn}
	if len(o.Sent) > 0 {
		o.Verdict = Forward
	}
	for r, n := range f.reasons() {
		if n == before[r] {
			continue
		}
		o.Verdict, o.Reason = Drop, perf.Reason(r)
		if perf.Reason(r) >= perf.PassNotIP {
			o.Verdict = Pass
		}
	}
	return o
}

// take lets the worker have frames, as many in a batch as it asks for.
func (f *fast) take(now int64, nic int, frames ...[]byte) {
	for _, b := range frames {
		f.ports[nic].in = append(f.ports[nic].in, f.chain(b)...)
	}
	for len(f.ports[nic].in) > 0 {
		f.w.Round(clock.Time(now))
	}
	for _, p := range f.ports {
		if p.begun != nil {
			panic("a packet was sent without its end")
		}
	}
}

// chain puts a packet into frames as the kernel does: each holds what fits behind the headroom.
func (f *fast) chain(packet []byte) (d []ring.Desc) {
	for first := true; first || len(packet) > 0; first = false {
		addr, ok := f.frames.Get()
		if !ok {
			panic("no frame is free")
		}
		n := copy(f.frames.Mem[addr+ring.Headroom:][:ring.MaxPacket], packet)
		packet = packet[n:]
		d = append(d, ring.Desc{Addr: addr + ring.Headroom, Len: uint32(n), Options: ring.Continued})
	}
	d[len(d)-1].Options = 0
	return d
}

func (f *fast) reasons() (l [perf.Reasons]uint64) {
	s := f.w.Stats()
	for i := range l {
		l[i] = s.Reasons[i].Load()
	}
	return l
}

// command carries out the same lines as Twin.Command.
func (f *fast) command(now int64, line string) error {
	f.advance(now)
	defer f.round(now)
	defer f.publish()
	w := strings.Fields(line)
	switch w[0] {
	case "tunable":
		return f.control.Apply(control.Op{Kind: control.SetTunable, Name: w[1], Value: w[2]}, clock.Time(now))
	case "interface":
		n, err := strconv.Atoi(w[3])
		if err != nil {
			return err
		}
		return f.net.SetMTU(w[1], uint32(n))
	case "ipvsadm":
		c, err := ipvsadm.Parse(w[1:], nil)
		if err != nil {
			return err
		}
		op, ok := c.Op()
		if !ok {
			return fmt.Errorf("%q changes nothing", line)
		}
		return f.control.Apply(op, clock.Time(now))
	}
	return fmt.Errorf("command %q", line)
}

// lost is how many frames are neither free nor held for an unknown neighbour.
func (f *fast) lost() int {
	if f.w.Wake() != clock.Never {
		return 0
	}
	return f.total - f.frames.Len()
}

func (f *fast) asListed(_ int64, conns []Conn, counts []Counts) ([]Conn, []Counts) {
	return conns, counts
}

func (f *fast) conns() (l []Conn) {
	f.flows.Walk(func(_ flow.Ref, c *flow.Conn) bool {
		p := map[uint8]string{protoTCP: "TCP", protoUDP: "UDP"}[c.Proto]
		port := c.CPort
		if c.IsTemplate() {
			port = 0
		}
		l = append(l, Conn{
			p, flow.StateName(c.Proto, c.State(), c.IsTemplate(), c.LoadFlags()&flow.FlagAssured != 0), netip.AddrPortFrom(c.Client.Netip(), port),
			netip.AddrPortFrom(c.Virtual.Netip(), c.VPort), netip.AddrPortFrom(c.Dest.Netip(), c.DPort), c.Deadline,
		})
		return true
	})
	sort.Slice(l, func(i, j int) bool { return l[i].String() < l[j].String() })
	return l
}

func (f *fast) counts() (l []Counts) {
	services, err := f.control.Services()
	if err != nil {
		panic(err)
	}
	for _, s := range services {
		c := Counts{Protocol: map[uint8]string{protoTCP: "TCP", protoUDP: "UDP"}[s.Spec.Protocol], Service: netip.AddrPortFrom(s.Spec.Addr, s.Spec.Port), stats: stats(s.Stats)}
		l = append(l, c)
		for _, d := range s.Servers {
			c.Server = netip.AddrPortFrom(d.Spec.Addr, d.Spec.Port)
			c.Weight, c.Active, c.Inactive, c.stats = int(d.Spec.Weight), int(d.Active), int(d.Inactive), stats(d.Stats)
			l = append(l, c)
		}
	}
	return l
}
