package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/sched"
	"github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/worker"
)

const (
	laneFrames  = 4096
	laneRing    = 1024
	frameLength = 60 // bytes of an IPv4 packet's frame; a minimum-size Ethernet frame without its checksum
	portsEach   = 50_000
	clientBits  = 20 // of fresh connections: 2^20 clients come by turns, each with its next port
	pieceRounds = 16 // rounds of one figure: the result is the median of many, which a preempted one does not move
	maxPieces   = 1 << 17
	addresses   = 4096 // that a service by mark stands for
	mark        = 1
)

type siteConfig struct {
	method      service.Method
	family      int
	connections int
	fresh       bool
	workers     int
	batch       int
	hugePages   numa.HugePages
	scheduler   string // "": rr
	servers     int    // 0: 8
}

// site is a director on memory rings: one service, its servers, one interface. The service of a scheduler that goes by the
// destination is one by mark, which stands for many addresses, as in front of a cluster of caches.
type site struct {
	cfg    siteConfig
	memory *numa.Memory
	flows  *flow.Table
	slots  *service.Slots
	snaps  atomic.Pointer[worker.Snapshot]
	svc    *service.Service
	vip    packet.Addr
	byMark bool
	lanes  []*lane
}

// lane is one worker with the kernel's half of its rings.
type lane struct {
	site    *site
	worker  *worker.Worker
	frames  *ring.Frames
	memory  *numa.Memory
	kernel  *ring.Kernel
	now     int64
	packets uint64
	pieces  []float32 // ns a packet of each piece of pieceRounds rounds
	rounds  int       // of the piece that is under way
	count   uint64    // packets of it
	busy    int64     // ns of it
	profile *worker.Profile

	rng   uint64
	next  uint64 // fresh: number of the next connection
	step  uint64
	reply bool
	descs [worker.MaxBatch]ring.Desc
	addrs [worker.MaxBatch]uint64
}

var (
	ownMAC     = [6]byte{2, 0, 0, 0, 0, 1}
	gatewayMAC = [6]byte{2, 0, 0, 0, 0, 2}
)

func newSite(cfg siteConfig) (_ *site, err error) {
	if cfg.scheduler == "" {
		cfg.scheduler = "rr"
	}
	if cfg.servers == 0 {
		cfg.servers = 8
	}
	s := &site{cfg: cfg, byMark: cfg.fresh && slices.Contains([]string{"dh", "lblc", "lblcr"}, cfg.scheduler)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	capacity := uint32(cfg.connections)
	if cfg.fresh {
		capacity *= 2
	}
	capacity += 1024 * uint32(cfg.workers) // what workers keep at hand
	if s.memory, err = numa.Alloc(int(flow.Size(capacity)), cfg.hugePages, -1); err != nil {
		return nil, err
	}
	if s.flows, err = flow.New(s.memory.Bytes, flow.Config{Capacity: capacity, Seed: [2]uint64{0x0123456789abcdef, 0xfedcba9876543210}, Workers: cfg.workers}); err != nil {
		return nil, err
	}
	s.slots = service.HeapSlots(cfg.servers + 8)
	table := service.NewTable(s.slots, func(name string) (service.Scheduler, error) { return sched.New(name, sched.Env{}) })
	vip, span, first := netip.MustParseAddr("192.0.2.10"), netip.MustParsePrefix("198.18.0.0/20"), netip.MustParseAddr("10.0.1.0")
	cfgNet := neigh.StaticConfig{
		Interfaces: []neigh.StaticInterface{{Name: "bench0", MAC: ownMAC, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/16")}}},
		Neighbors:  map[netip.Addr][6]byte{netip.MustParseAddr("10.0.0.254"): gatewayMAC},
		Routes:     []neigh.StaticRoute{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.254")}},
	}
	mask := uint32(0xffffffff)
	if cfg.family == 6 {
		mask = 128
		vip, span, first = netip.MustParseAddr("2001:db8::10"), netip.MustParsePrefix("2001:db8:1::/116"), netip.MustParseAddr("fd00::1:0")
		cfgNet.Interfaces[0].Addresses = []netip.Prefix{netip.MustParsePrefix("fd00::1/64")}
		cfgNet.Neighbors = map[netip.Addr][6]byte{netip.MustParseAddr("fd00::fe"): gatewayMAC}
		cfgNet.Routes = []neigh.StaticRoute{{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00::fe")}}
	}
	s.vip = packet.AddrFrom(vip)
	id := service.ID{Family: uint8(cfg.family), Protocol: service.TCP, Addr: vip, Port: 80}
	if s.byMark {
		id = service.ID{Family: uint8(cfg.family), Mark: mark}
		s.vip = packet.AddrFrom(span.Addr())
		table.SetMarks([]service.Mark{{Mark: mark, Destination: span, Protocol: service.TCP}})
	}
	if err = table.AddService(service.Spec{ID: id, Scheduler: cfg.scheduler, Netmask: mask}); err != nil {
		return nil, err
	}
	for i, a := 0, first; i < cfg.servers; i, a = i+1, a.Next() {
		cfgNet.Neighbors[a] = [6]byte{2, 0, 0, 1, byte(i >> 8), byte(i)}
		if err = table.AddServer(id, service.ServerSpec{ServerID: service.ServerID{Addr: a, Port: 80}, Method: cfg.method, Weight: cfg.weight(i)}); err != nil {
			return nil, err
		}
	}
	net, err := neigh.NewStatic(cfgNet)
	if err != nil {
		return nil, err
	}
	services := table.Snapshot()
	s.svc = services.Services[0]
	s.resolve(services, net.Snapshot())
	s.snaps.Store(worker.NewSnapshot(services, net.Snapshot(), flow.DefaultTimeouts(), service.DefaultTunables(), []int16{0}, nil))
	counters := service.NewCounters(cfg.workers, s.slots.Capacity())
	for i := range cfg.workers {
		if err = s.addLane(i, counters); err != nil {
			return nil, err
		}
	}
	if !cfg.fresh {
		return s, s.fill()
	}
	return s, nil
}

// weight of a server: 1 to 5 by turns. ovf chooses nobody once all have more connections than that, so there it is what
// at least twice as many connections fit into.
func (c *siteConfig) weight(i int) int32 {
	w := int32(1 + i%5)
	if c.scheduler == "ovf" {
		w *= 2 * int32(1+c.connections/c.servers)
	}
	return w
}

// resolve fills in how the servers are reached.
func (s *site) resolve(services *service.Snapshot, net *neigh.Snapshot) {
	services.Targets = make([]service.Target, s.slots.Capacity()+1)
	for _, v := range s.svc.Servers {
		r := net.Route(v.Addr)
		services.Targets[v.Number] = service.Target{
			Addr: v.Addr, Source: r.Source, Hop: uint32(r.Hop), Interface: int32(r.Interface), MTU: r.MTU, Port: v.Port, Family: v.Family,
			Method: v.LoadMethod(), Kind: service.TargetUnicast, Available: true,
		}
	}
}

func (s *site) addLane(i int, counters *service.Counters) error {
	l := &lane{site: s, pieces: make([]float32, 0, maxPieces), rng: uint64(i)*0x9e3779b97f4a7c15 + 0x1234567, next: uint64(i), step: uint64(s.cfg.workers)}
	var err error
	if l.memory, err = numa.Alloc(laneFrames*ring.FrameSize, s.cfg.hugePages, -1); err != nil {
		return err
	}
	s.lanes = append(s.lanes, l)
	l.frames = ring.NewFrames(l.memory.Bytes[:laneFrames*ring.FrameSize])
	socket, kernel, err := ring.NewMemory(l.frames, ring.Sizes{Fill: laneRing, Completion: laneRing, RX: laneRing, TX: laneRing})
	if err != nil {
		return err
	}
	l.kernel = kernel
	l.worker, err = worker.New(worker.Config{
		ID: i, Batch: s.cfg.batch, Frames: l.frames, Ports: []worker.Port{socket}, Flows: s.flows, Slots: s.slots, Counters: counters,
		Snapshots: &s.snaps,
	})
	return err
}

func (s *site) close() {
	for _, l := range s.lanes {
		if l.memory != nil {
			_ = l.memory.Free()
		}
	}
	if s.memory != nil {
		_ = s.memory.Free()
	}
}

// client is the address and port of a connection's client.
func (s *site) client(n uint64) (packet.Addr, uint16) {
	port := uint16(1024 + n%portsEach)
	host := uint32(n / portsEach)
	if s.cfg.fresh {
		port, host = uint16(1024+n>>clientBits%portsEach), uint32(n&(1<<clientBits-1))
	}
	if s.cfg.family == 4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 0x64000001+host) // 100.0.0.1 and on
		return packet.AddrFrom4(b[:]), port
	}
	var b [16]byte
	copy(b[:], []byte{0x20, 0x01, 0x0d, 0xb8, 0xff})
	binary.BigEndian.PutUint32(b[12:], host+1)
	return packet.AddrFrom16(b[:]), port
}

// destination is what a fresh connection is addressed to.
func (s *site) destination(n uint64) packet.Addr {
	if !s.byMark {
		return s.vip
	}
	b := s.vip.As16()
	n = n * 0x9e3779b97f4a7c15 >> 32 % addresses // in no order
	b[14] |= byte(n >> 8)
	b[15] = byte(n)
	return packet.AddrFrom16(b[:])
}

// fill puts every connection into the table, established.
func (s *site) fill() error {
	flags := uint32(s.cfg.method) | uint32(flow.TCPEstablished)<<flow.StateShift
	if s.cfg.method != service.NAT {
		flags |= flow.FlagNoOutput
	}
	if s.cfg.family == 6 {
		flags |= flow.FlagIPv6
	}
	deadline := int64(900 * clock.Second)
	for n := range s.cfg.connections {
		v := s.svc.Servers[n%s.cfg.servers]
		ref := s.flows.Alloc(0)
		if ref == 0 {
			return errors.New("the table is full")
		}
		addr, port := s.client(uint64(n))
		*s.flows.Conn(ref) = flow.Conn{
			Client: addr, Virtual: s.vip, CPort: port, VPort: 80, DPort: 80, Proto: service.TCP, Server: v.Number, Dest: v.Addr,
			Flags: flags, Deadline: deadline, Timeout: deadline, Service: s.svc.Number,
		}
		if _, won := s.flows.Insert(0, ref); !won {
			return fmt.Errorf("connection %d was refused", n)
		}
		v.Bind(false)
		v.Activate()
	}
	s.flows.GoIdle(0)
	return nil
}

// bytesPerConnection is what the table takes for each connection that it has room for.
func (s *site) bytesPerConnection() float64 {
	c := s.flows.Capacity()
	return float64(flow.Size(c)) / float64(c)
}

// verdict checks that what was measured was forwarding: nothing dropped, nothing passed, no connection refused.
func (s *site) verdict() error {
	for _, l := range s.lanes {
		st := l.worker.Stats()
		for r := range perf.Reasons {
			if n := st.Reasons[r].Load(); n > 0 {
				return fmt.Errorf("%d packets were not forwarded: %v", n, perf.Reason(r))
			}
		}
	}
	return nil
}

// turn is one round with the kernel's part before and after it; only the worker's part is timed.
func (l *lane) turn() {
	for {
		n := l.kernel.Take(l.descs[:])
		if n == 0 {
			break
		}
		for i := range l.descs[:n] {
			l.addrs[i] = l.descs[i].Addr
		}
		l.kernel.Feed(l.addrs[:n])
	}
	n := l.kernel.Drain(l.addrs[:l.site.cfg.batch])
	for i := range n {
		l.descs[i] = l.write(l.addrs[i])
	}
	l.kernel.Give(l.descs[:n])
	if l.site.cfg.fresh {
		// A connection lives for the SYN_RECV timeout; at this pace the table stays half full.
		l.now += int64(n) * int64(60*clock.Second) / int64(l.site.cfg.connections) * int64(l.site.cfg.workers)
	} else {
		l.now += int64(2 * time.Microsecond)
	}
	if l.profile != nil {
		l.profile.Begin()
		l.worker.Round(clock.Time(l.now))
		l.packets += uint64(n)
		return
	}
	start := nanotime()
	l.worker.Round(clock.Time(l.now))
	l.busy += nanotime() - start
	l.packets += uint64(n)
	l.count += uint64(n)
	if l.rounds++; l.rounds == pieceRounds && len(l.pieces) < cap(l.pieces) {
		l.pieces = append(l.pieces, float32(l.busy)/float32(l.count))
	}
	if l.rounds == pieceRounds {
		l.rounds, l.count, l.busy = 0, 0, 0
	}
}

// write puts the next packet into a frame.
func (l *lane) write(frame uint64) ring.Desc {
	s := l.site
	var n uint64
	flags := uint8(packet.ACK)
	reply := false
	if s.cfg.fresh {
		n, flags = l.next, packet.SYN
		l.next += l.step
	} else {
		l.rng ^= l.rng << 13
		l.rng ^= l.rng >> 7
		l.rng ^= l.rng << 17
		n = (l.rng >> 32) * uint64(s.cfg.connections) >> 32
		if s.cfg.method == service.NAT {
			reply = l.reply
			l.reply = !l.reply
		}
	}
	src, sport := s.client(n)
	dst, dport := s.destination(n), uint16(80)
	if reply {
		v := s.svc.Servers[n%uint64(s.cfg.servers)]
		src, dst, sport, dport = v.Addr, src, v.Port, sport
	}
	addr := frame&^(ring.FrameSize-1) + ring.Headroom
	b := l.frames.Mem[addr:][:128]
	copy(b, ownMAC[:])
	copy(b[6:], gatewayMAC[:])
	length := frameLength
	if s.cfg.family == 4 {
		binary.BigEndian.PutUint16(b[12:], packet.EtherIPv4)
		h := b[14:54]
		binary.BigEndian.PutUint64(h, 0x4500_0028_0000_4000)
		binary.BigEndian.PutUint32(h[8:], 0x4006_0000)
		src.Put4(h[12:])
		dst.Put4(h[16:])
		packet.SetHeaderChecksum(h)
		writeTCP(h[20:], sport, dport, flags)
	} else {
		binary.BigEndian.PutUint16(b[12:], packet.EtherIPv6)
		h := b[14:74]
		binary.BigEndian.PutUint64(h, 0x6000_0000_0014_0640)
		src.Put16(h[8:])
		dst.Put16(h[24:])
		writeTCP(h[40:], sport, dport, flags)
		length = 74
	}
	return ring.Desc{Addr: addr, Len: uint32(length)}
}

// writeTCP makes a header with no payload; its checksum is arbitrary, which the dataplane does not mind.
func writeTCP(h []byte, sport, dport uint16, flags uint8) {
	binary.BigEndian.PutUint16(h, sport)
	binary.BigEndian.PutUint16(h[2:], dport)
	binary.BigEndian.PutUint64(h[4:], 0x0000_0001_0000_0001)
	h[12], h[13], h[14], h[15] = 0x50, flags, 0xff, 0xff
	binary.BigEndian.PutUint32(h[16:], 0x1234_0000)
}
