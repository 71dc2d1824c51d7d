package worker

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/sched"
	"github.com/fastlb/fastlb/service"
)

var (
	macC0 = [6]byte{2, 0, 0, 0, 0x0c, 0}
	macC1 = [6]byte{2, 0, 0, 0, 0x0c, 1}
	macR0 = [6]byte{2, 0, 0, 0, 0x0d, 0}
)

func ip(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// rig is a two-armed director in memory: c0 towards the clients, r0 towards servers .11 and .12 of both families.
type rig struct {
	t        *testing.T
	table    *service.Table
	slots    *service.Slots
	flows    *flow.Table
	net      *neigh.Static
	counters *service.Counters
	snaps    atomic.Pointer[Snapshot]
	timeouts flow.Timeouts
	tunables service.Tunables
	workers  []*Worker
	lanes    []rigLane
	now      clock.Time
	mu       sync.Mutex
	passed   []passed // guarded by mu: every worker passes
	asked    []netip.Addr
}

type rigLane struct {
	frames  *ring.Frames
	kernels []*ring.Kernel
	spare   [][]uint64 // frames in the kernel's hands, by port
}

type passed struct {
	iface int
	ip    []byte
}

func (r *rig) Pass(iface int, ip []byte, _ int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passed = append(r.passed, passed{iface, append([]byte{}, ip...)})
	return true
}

func (r *rig) Ask(_ int, next netip.Addr) { r.asked = append(r.asked, next) }

func newRig(t *testing.T, workers int) *rig { return newRigOf(t, workers, 4096) }

// newRigOf is newRig with a table of another capacity, and more routes.
func newRigOf(t *testing.T, workers int, capacity uint32, routes ...neigh.StaticRoute) *rig {
	t.Helper()
	r := &rig{t: t, slots: service.HeapSlots(64), timeouts: flow.DefaultTimeouts(), tunables: service.DefaultTunables(), now: clock.Second}
	r.table = service.NewTable(r.slots, func(name string) (service.Scheduler, error) { return sched.New(name, sched.Env{}) })
	var err error
	r.net, err = neigh.NewStatic(neigh.StaticConfig{
		Interfaces: []neigh.StaticInterface{
			{Name: "c0", MAC: macC0, Addresses: []netip.Prefix{netip.MustParsePrefix("10.8.0.1/24"), netip.MustParsePrefix("fd00:8::1/64")}},
			{Name: "r0", MAC: macR0, Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.254/24"), netip.MustParsePrefix("fd00:2::fe/64")}},
		},
		Neighbors: map[netip.Addr][6]byte{
			netip.MustParseAddr("10.8.0.2"): macC1, netip.MustParseAddr("fd00:8::2"): macC1,
			netip.MustParseAddr("10.2.0.11"): {2, 0, 0, 0, 2, 0x11}, netip.MustParseAddr("10.2.0.12"): {2, 0, 0, 0, 2, 0x12},
			netip.MustParseAddr("fd00:2::11"): {2, 0, 0, 0, 2, 0x11}, netip.MustParseAddr("fd00:2::12"): {2, 0, 0, 0, 2, 0x12},
		},
		Routes: append([]neigh.StaticRoute{
			{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.8.0.2")},
			{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00:8::2")},
		}, routes...),
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.flows, err = flow.New(flow.AlignedBytes(flow.Size(capacity)), flow.Config{Capacity: capacity, Seed: [2]uint64{1, 2}, Workers: workers}); err != nil {
		t.Fatal(err)
	}
	r.counters = service.NewCounters(workers, r.slots.Capacity())
	r.publish()
	var handover *Handover
	if workers > 1 {
		handover = NewHandover(workers)
	}
	for i := range workers {
		l := rigLane{frames: ring.NewFrames(make([]byte, 256*ring.FrameSize)), spare: make([][]uint64, 2)}
		var ports []Port
		for range 2 {
			s, k, err := ring.NewMemory(l.frames, ring.Sizes{Fill: 64, Completion: 64, RX: 64, TX: 64})
			if err != nil {
				t.Fatal(err)
			}
			ports = append(ports, s)
			l.kernels = append(l.kernels, k)
		}
		w, err := New(Config{ID: i, Frames: l.frames, Ports: ports, Flows: r.flows, Slots: r.slots, Counters: r.counters, Snapshots: &r.snaps, Pass: r, Ask: r, Handover: handover})
		if err != nil {
			t.Fatal(err)
		}
		r.workers, r.lanes = append(r.workers, w), append(r.lanes, l)
	}
	return r
}

// publish makes a snapshot of what the table and the network are now.
func (r *rig) publish() {
	services := r.table.Snapshot()
	net := r.net.Snapshot()
	services.Targets = make([]service.Target, r.slots.Capacity()+1)
	for n := 1; n <= r.slots.Capacity(); n++ {
		v := r.slots.Get(uint32(n))
		if v == nil {
			continue
		}
		if v.Addr.IsZero() {
			continue
		}
		spec := v.Spec()
		t := net.Route(v.Addr)
		services.Targets[n] = service.Target{
			Addr: v.Addr, Source: t.Source, Hop: uint32(t.Hop), Interface: int32(t.Interface), MTU: t.MTU, Port: v.Port, Family: v.Family,
			Method: spec.Method, Tunnel: spec.Tunnel, TunSum: spec.TunSum, TunPort: spec.TunPort, Kind: service.TargetKind(t.Kind), Available: v.Available(),
		}
	}
	r.snaps.Store(NewSnapshot(services, net, r.timeouts, r.tunables, []int16{0, 1}, r.snaps.Load()))
}

// service adds a service with servers, and publishes.
func (r *rig) service(proto uint8, vip string, port uint16, method service.Method, servers ...string) service.ID {
	r.t.Helper()
	a := netip.MustParseAddr(vip)
	id := service.ID{Family: 4, Protocol: proto, Addr: a, Port: port}
	mask := uint32(0xffffffff)
	if a.Is6() {
		id.Family, mask = 6, 128
	}
	if err := r.table.AddService(service.Spec{ID: id, Scheduler: "rr", Netmask: mask}); err != nil {
		r.t.Fatal(err)
	}
	for _, s := range servers {
		if err := r.table.AddServer(id, service.ServerSpec{ServerID: service.ServerID{Addr: netip.MustParseAddr(s), Port: port}, Method: method, Weight: 1}); err != nil {
			r.t.Fatal(err)
		}
	}
	r.publish()
	return id
}

// give puts frames on a worker's port; it returns how many the ring took.
func (r *rig) give(worker, port int, frames ...[]byte) {
	r.t.Helper()
	l := &r.lanes[worker]
	var a [64]uint64
	for _, f := range frames {
		if len(l.spare[port]) == 0 {
			n := l.kernels[port].Drain(a[:])
			l.spare[port] = append(l.spare[port], a[:n]...)
		}
		if len(l.spare[port]) == 0 {
			r.t.Fatal("the fill ring is empty")
		}
		at := l.spare[port][0]&^(ring.FrameSize-1) + ring.Headroom
		l.spare[port] = l.spare[port][1:]
		copy(l.frames.Mem[at:], f)
		if l.kernels[port].Give([]ring.Desc{{Addr: at, Len: uint32(len(f))}}) != 1 {
			r.t.Fatal("the RX ring is full")
		}
	}
}

type sent struct {
	port  int
	frame []byte
}

// take collects what a worker sent, and completes it.
func (r *rig) take(worker int) (out []sent) {
	l := &r.lanes[worker]
	var d [64]ring.Desc
	for port, k := range l.kernels {
		for n := k.Take(d[:]); n > 0; n = k.Take(d[:]) {
			for _, v := range d[:n] {
				out = append(out, sent{port, append([]byte{}, l.frames.Bytes(v)...)})
				k.Feed([]uint64{v.Addr})
			}
		}
	}
	return out
}

// in gives one frame to a worker, runs a round and returns what was sent.
func (r *rig) in(port int, f []byte) []sent {
	r.t.Helper()
	r.give(0, port, f)
	r.workers[0].Round(r.now)
	return r.take(0)
}

// account checks that every frame is somewhere, once: on the free stack, in a fill ring, or waiting in the kernel.
func (r *rig) account() {
	r.t.Helper()
	for i, l := range r.lanes {
		r.workers[i].Round(r.now) // takes completions back
		n := l.frames.Len() + len(r.workers[i].holds.list)
		var a [256]uint64
		for port, k := range l.kernels {
			n += k.Drain(a[:]) + len(l.spare[port])
		}
		if n != l.frames.Cap() {
			r.t.Errorf("worker %d: %d of %d frames are accounted for", i, n, l.frames.Cap())
		}
	}
}

// tcp and udp build whole frames towards the director.
func tcp(src string, sport uint16, dst string, dport uint16, flags uint8, payload int) []byte {
	h := make([]byte, 20+payload)
	binary.BigEndian.PutUint16(h, sport)
	binary.BigEndian.PutUint16(h[2:], dport)
	h[12], h[13], h[14], h[15] = 0x50, flags, 0xfa, 0xf0
	return frame(src, dst, packet.ProtoTCP, h, 16)
}

func udp(src string, sport uint16, dst string, dport uint16, payload int) []byte {
	h := make([]byte, 8+payload)
	binary.BigEndian.PutUint16(h, sport)
	binary.BigEndian.PutUint16(h[2:], dport)
	binary.BigEndian.PutUint16(h[4:], uint16(len(h)))
	return frame(src, dst, packet.ProtoUDP, h, 6)
}

func frame(src, dst string, proto uint8, payload []byte, sumAt int) []byte {
	s, d := ip(src), ip(dst)
	for i := 20; i < len(payload); i++ {
		payload[i] = byte(i)
	}
	binary.BigEndian.PutUint16(payload[sumAt:], packet.PseudoHeader(s, d, proto, len(payload)).AddBytes(payload).Checksum())
	var f []byte
	if s.Is4() {
		f = make([]byte, 34, 34+len(payload))
		h := f[14:]
		h[0], h[8], h[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
		s.Put4(h[12:])
		d.Put4(h[16:])
		packet.SetHeaderChecksum(h)
		f[12], f[13] = 8, 0
	} else {
		f = make([]byte, 54, 54+len(payload))
		h := f[14:]
		h[0], h[6], h[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
		s.Put16(h[8:])
		d.Put16(h[24:])
		f[12], f[13] = 0x86, 0xdd
	}
	return append(f, payload...)
}

// check verifies a frame's checksums and returns its tuple and what was parsed.
func (r *rig) check(f []byte) (k packet.Tuple, p packet.Parsed) {
	r.t.Helper()
	packet.Parse(f, &k, &p)
	if p.Kind == packet.Transport {
		l := f[p.L4 : int(p.L3)+int(p.Len)]
		if packet.PseudoHeader(k.Src, k.Dst, k.Proto, len(l)).AddBytes(l).Fold() != 0xffff {
			r.t.Errorf("wrong transport checksum in %x", f)
		}
	}
	return k, p
}

func (r *rig) reason(want perf.Reason, n uint64) {
	r.t.Helper()
	var got uint64
	for _, w := range r.workers {
		got += w.stats.Reasons[want].Load()
	}
	if got != n {
		r.t.Errorf("%v: %d, want %d", want, got, n)
	}
}
