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
	// lifetime of fresh connections. At two million a second a table of ten million turns over in five seconds, so this is
	// generous; the workers' clocks run as fast as it takes. LVS's 60 s would have them look at the whole expiry array, once
	// a second, sixty times a turnover, which no site does that is as busy as this one.
	lifetime  = 10 * clock.Second
	addresses = 4096 // that a service by mark stands for
	mark      = 1
)

type siteConfig struct {
	method      service.Method
	family      int
	connections int
	fresh       bool
	workers     int
	batch       int
	hugePages   numa.HugePages
	scheduler   string        // "": rr
	servers     int           // of each service; 0: 8
	services    int           // 0: 1
	shared      bool          // any worker gets any packet; else as RSS spreads them
	miss        time.Duration // for measuring memory before the table is there; 0: not at all
	cpus        numa.CPUs     // to pin the workers to; none: those that the process may use
}

// site is a director on memory rings: services, their servers, one interface. The service of a scheduler that goes by the
// destination is one by mark, which stands for many addresses, as in front of a cluster of caches.
type site struct {
	cfg     siteConfig
	memory  *numa.Memory
	flows   *flow.Table
	slots   *service.Slots
	snaps   atomic.Pointer[worker.Snapshot]
	svcs    []*service.Service
	vips    []packet.Addr // by service
	byMark  bool
	pace    int64 // fresh: ns on a worker's clock a packet of its own
	lanes   []*lane
	gate    gate
	end     int64   // of the run under way, on nanotime's clock; 0: it has not begun; this and the next two written as gate.stop is
	packets uint64  // of that run
	pieces  []piece // of that run
	scratch []float32
	reading int64 // ns that reading the clock takes
	missNS  float64
	rssPer  float64 // bytes by which the process grew for a connection
	now     int64   // of all workers' clocks, from one piece to the next; written as gate.stop is
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
	if cfg.services == 0 {
		cfg.services = 1
	}
	s := &site{cfg: cfg, pieces: make([]piece, 0, maxPieces), scratch: make([]float32, maxPieces), reading: clockReading(), byMark: cfg.fresh && slices.Contains([]string{"dh", "lblc", "lblcr"}, cfg.scheduler)}
	s.pace = int64(lifetime) / int64(cfg.connections) * int64(cfg.workers)
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
	if err = enough(cfg, flow.Size(capacity)); err != nil {
		return nil, err
	}
	base := int64(0)
	if !cfg.fresh {
		base, _ = resident()
	}
	if s.memory, err = numa.Alloc(int(flow.Size(capacity)), cfg.hugePages, -1); err != nil {
		return nil, err
	}
	if cfg.miss > 0 {
		s.missNS = missTime(s.memory.Bytes, cfg.miss)
	}
	if s.flows, err = flow.New(s.memory.Bytes, flow.Config{Capacity: capacity, Seed: [2]uint64{0x0123456789abcdef, 0xfedcba9876543210}, Workers: cfg.workers}); err != nil {
		return nil, err
	}
	s.slots = service.HeapSlots((cfg.servers + 8) * cfg.services)
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
	for i, a := 0, first; i < cfg.services; i++ {
		id := service.ID{Family: uint8(cfg.family), Protocol: service.TCP, Addr: vip, Port: 80}
		if s.byMark {
			id = service.ID{Family: uint8(cfg.family), Mark: mark}
			vip = span.Addr()
			table.SetMarks([]service.Mark{{Mark: mark, Destination: span, Protocol: service.TCP}})
		}
		s.vips = append(s.vips, packet.AddrFrom(vip))
		if err = table.AddService(service.Spec{ID: id, Scheduler: cfg.scheduler, Netmask: mask}); err != nil {
			return nil, err
		}
		for n := range cfg.servers {
			cfgNet.Neighbors[a] = [6]byte{2, 0, byte(i + 1), 1, byte(n >> 8), byte(n)}
			spec := service.ServerSpec{ServerID: service.ServerID{Addr: a, Port: 80}, Method: cfg.method, Weight: cfg.weight(n)}
			if err = table.AddServer(id, spec); err != nil {
				return nil, err
			}
			a = a.Next()
		}
		vip = vip.Next()
	}
	net, err := neigh.NewStatic(cfgNet)
	if err != nil {
		return nil, err
	}
	services := table.Snapshot()
	s.svcs = make([]*service.Service, cfg.services)
	for _, v := range services.Services {
		if i := slices.Index(s.vips, packet.AddrFrom(v.Addr)); i >= 0 {
			s.svcs[i] = v
		} else {
			s.svcs[0] = v // by mark
		}
	}
	s.resolve(services, net.Snapshot())
	timeouts := flow.DefaultTimeouts()
	timeouts.TCP[flow.TCPSynRecv] = int64(lifetime)
	s.snaps.Store(worker.NewSnapshot(services, net.Snapshot(), timeouts, service.DefaultTunables(), []int16{0}, nil))
	counters := service.NewCounters(cfg.workers, s.slots.Capacity())
	for i := range cfg.workers {
		if err = s.addLane(i, counters); err != nil {
			return nil, err
		}
	}
	if cfg.fresh {
		return s, nil
	}
	if err = s.fill(); err != nil {
		return nil, err
	}
	if now, err := resident(); err == nil && base > 0 {
		umem := 0
		for _, l := range s.lanes {
			umem += len(l.memory.Bytes)
		}
		s.rssPer = float64(now-base-int64(umem)) / float64(cfg.connections)
	}
	return s, nil
}

// enough tells whether there is memory for a table of size bytes and the workers' frames; where that cannot be known it
// is tried.
func enough(cfg siteConfig, size int64) error {
	have, err := available()
	need := size + int64(cfg.workers*framesFor(cfg.batch)*ring.FrameSize)
	if err == nil && need > have {
		return fmt.Errorf("%d connections of %s take %d MiB of memory, and %d MiB are available: choose fewer",
			cfg.connections, map[bool]string{false: Established, true: New}[cfg.fresh], need>>20, have>>20)
	}
	return nil
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
	for _, svc := range s.svcs {
		for _, v := range svc.Servers {
			r := net.Route(v.Addr)
			services.Targets[v.Number] = service.Target{
				Addr: v.Addr, Source: r.Source, Hop: uint32(r.Hop), Interface: int32(r.Interface), MTU: r.MTU, Port: v.Port, Family: v.Family,
				Method: v.LoadMethod(), Kind: service.TargetUnicast, Available: true,
			}
		}
	}
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

// service is the number of a connection's service: each worker's connections have the same, if there are as many.
func (s *site) service(n uint64) int {
	if s.cfg.services == 1 {
		return 0
	}
	return int(n % uint64(s.cfg.workers) % uint64(s.cfg.services))
}

// server is the real server of an established connection. It does not depend on which worker gets the packets.
func (s *site) server(n uint64) *service.Server {
	list := s.svcs[s.service(n)].Servers
	return list[n/uint64(s.cfg.workers*s.cfg.workers)%uint64(len(list))]
}

// destination is what a fresh connection is addressed to.
func (s *site) destination(n uint64) packet.Addr {
	vip := s.vips[s.service(n)]
	if !s.byMark {
		return vip
	}
	b := vip.As16()
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
		v := s.server(uint64(n))
		ref := s.flows.Alloc(0)
		if ref == 0 {
			return errors.New("the table is full")
		}
		addr, port := s.client(uint64(n))
		*s.flows.Conn(ref) = flow.Conn{
			Client: addr, Virtual: s.vips[s.service(uint64(n))], CPort: port, VPort: 80, DPort: 80, Proto: service.TCP, Server: v.Number, Dest: v.Addr,
			Flags: flags, Deadline: deadline, Timeout: deadline, Service: v.Service,
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
