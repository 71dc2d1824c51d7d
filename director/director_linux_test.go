package director

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/xdp"
)

// room is one network namespace, with a netlink handle in it.
type room struct {
	ns netns.NsHandle
	h  *netlink.Handle
}

// site is a client, a director and a real server in a row, on the test's thread:
//
//	client 10.10.0.2 ── 10.10.0.1 c · director · s 10.20.0.1 ── 10.20.0.2 server, which has the VIP of DR on lo
type site struct {
	t                        *testing.T
	client, director, server room
	config                   *config.Config
}

const vip, vipDR = "192.0.2.10", "192.0.2.20"

func newSite(t *testing.T) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("FASTLB_REQUIRE_E2E") == "1" {
			t.Fatal("needs root for network namespaces")
		}
		t.Skip("needs root for network namespaces")
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	home, err := netns.Get()
	ok(t, err)
	t.Cleanup(func() { netns.Set(home); home.Close() })
	s := &site{t: t}
	for _, r := range []*room{&s.client, &s.director, &s.server} {
		r.ns, err = netns.New()
		ok(t, err)
		t.Cleanup(func() { r.ns.Close() })
		r.h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		ok(t, err)
		t.Cleanup(r.h.Close)
		ok(t, r.h.LinkSetUp(r.link(t, "lo")))
	}
	s.wire("c", &s.client, "10.10.0.")
	s.wire("s", &s.server, "10.20.0.")
	addr, _ := netlink.ParseAddr(vipDR + "/32")
	ok(t, s.server.h.AddrAdd(s.server.link(t, "lo"), addr))
	s.in(&s.director)
	ok(t, sysctl{name: "net/ipv4/ip_forward", value: "1"}.write())
	s.config = config.Default()
	s.config.Interfaces = []config.Interface{config.NewInterface("c"), config.NewInterface("s")}
	s.config.Flows = config.Flows{Capacity: 4096, State: filepath.Join(t.TempDir(), "flows")}
	s.config.Workers.Frames = 1024
	s.config.Workers.Hugepages = "off"
	s.config.Services = []config.Service{served(vip, service.NAT, 1), served(vipDR, service.DR, 1)}
	return s
}

// mtu sets the MTU of all links.
func (s *site) mtu(mtu int) {
	s.t.Helper()
	for _, l := range []struct {
		r    *room
		name string
	}{{&s.director, "c"}, {&s.director, "s"}, {&s.client, "eth0"}, {&s.server, "eth0"}} {
		ok(s.t, l.r.h.LinkSetMTU(l.r.link(s.t, l.name), mtu))
	}
}

// served is a service on port 80 with the one server.
func served(addr string, method service.Method, weight int32) config.Service {
	return config.Service{
		Spec:    service.Spec{ID: service.ID{Family: 4, Protocol: service.TCP, Addr: netip.MustParseAddr(addr), Port: 80}, Scheduler: "rr", Netmask: 0xffffffff},
		Servers: []service.ServerSpec{{ServerID: service.ServerID{Addr: netip.MustParseAddr("10.20.0.2"), Port: 80}, Method: method, Weight: weight}},
	}
}

func (r *room) link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := r.h.LinkByName(name)
	ok(t, err)
	return l
}

func (s *site) in(r *room) {
	s.t.Helper()
	ok(s.t, netns.Set(r.ns))
}

// wire makes a veth between the director and a room, whose end is eth0.
func (s *site) wire(name string, r *room, prefix string) {
	s.t.Helper()
	ok(s.t, s.director.h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, NumTxQueues: 1, NumRxQueues: 1}, PeerName: "eth0", PeerNamespace: netlink.NsFd(r.ns)}))
	for _, end := range []struct {
		room *room
		name string
		addr string
	}{{&s.director, name, prefix + "1/24"}, {r, "eth0", prefix + "2/24"}} {
		s.in(end.room)
		tool, err := ethtool.NewEthtool()
		ok(s.t, err)
		ok(s.t, tool.Change(end.name, map[string]bool{"tx-checksum-ip-generic": false})) // AF_XDP cannot finish checksums
		tool.Close()
		addr, err := netlink.ParseAddr(end.addr)
		ok(s.t, err)
		l := end.room.link(s.t, end.name)
		ok(s.t, end.room.h.AddrAdd(l, addr))
		ok(s.t, end.room.h.LinkSetUp(l))
	}
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	ok(s.t, r.h.RouteAdd(&netlink.Route{Dst: all, Gw: net.ParseIP(prefix + "1")}))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		if errors.Is(err, unix.EPERM) && os.Getenv("FASTLB_REQUIRE_E2E") != "1" {
			t.Skipf("not permitted: %v", err)
		}
		t.Fatal(err)
	}
}

// start runs a director in its namespace.
func (s *site) start() *Director {
	s.t.Helper()
	s.in(&s.director)
	d, err := New(Options{Config: s.config, Version: "test", Load: func() (*config.Config, error) { return s.config, nil }})
	if errors.Is(err, xdp.ErrNotSupported) && os.Getenv("FASTLB_REQUIRE_E2E") != "1" {
		s.t.Skipf("no AF_XDP here: %v", err)
	}
	ok(s.t, err)
	s.t.Cleanup(func() { s.in(&s.director); d.Stop() })
	return d
}

// echo answers every connection to port 80 of the server with what it sends.
func (s *site) echo() {
	s.t.Helper()
	s.in(&s.server)
	l, err := net.Listen("tcp4", "0.0.0.0:80")
	ok(s.t, err)
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
}

func (s *site) dial(addr string) net.Conn {
	s.t.Helper()
	s.in(&s.client)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp4", addr+":80")
	ok(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	ok(s.t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

// exchange sends n bytes and compares what comes back.
func exchange(t *testing.T, c net.Conn, n int) {
	t.Helper()
	out := bytes.Repeat([]byte("0123456789abcdef"), n/16)
	go c.Write(out)
	h := sha256.New()
	if _, err := io.CopyN(h, c, int64(len(out))); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(out); !bytes.Equal(h.Sum(nil), want[:]) {
		t.Fatal("what came back is not what was sent")
	}
	// Acknowledge now: an acknowledgement that comes while no director runs meets the kernel, which resets the connection.
	raw, err := c.(*net.TCPConn).SyscallConn()
	ok(t, err)
	ok(t, raw.Control(func(fd uintptr) { ok(t, unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)) }))
}

// found is what a director must leave as it was.
func (s *site) found() string {
	s.t.Helper()
	links, err := s.director.h.LinkList()
	ok(s.t, err)
	var b strings.Builder
	for _, l := range links {
		a := l.Attrs()
		fmt.Fprintf(&b, "%s mtu %d flags %v xdp %t\n", a.Name, a.MTU, a.Flags&net.FlagUp, a.Xdp != nil && a.Xdp.Attached)
	}
	return b.String()
}

func TestDirector(t *testing.T) {
	s := newSite(t)
	s.echo()
	before := s.found()
	d := s.start()
	if now := s.found(); now == before || !strings.Contains(now, tunName) {
		t.Errorf("a running director leaves no trace:\n%s", now)
	}
	nat, dr := s.dial(vip), s.dial(vipDR)
	exchange(t, nat, 4<<20)
	exchange(t, dr, 4<<20)

	// What ipvsadm does, and what the file says, side by side; nothing of it cuts a connection.
	id := service.ID{Family: 4, Protocol: service.TCP, Addr: netip.MustParseAddr(vip), Port: 81}
	typed := control.Op{Kind: control.AddService, Service: service.Spec{ID: id, Scheduler: "wlc"}}
	if n, err := d.Apply([]control.Op{typed, typed}); n != 1 || !errors.Is(err, service.ErrServiceExists) {
		t.Errorf("applied %d, %v", n, err)
	}
	next := *s.config
	next.Services = []config.Service{served(vip, service.NAT, 5), served(vipDR, service.DR, 1)}
	s.config = &next
	done, err := d.Reload()
	if err != nil || len(done.Changes) != 1 {
		t.Errorf("reload: %+v, %v", done, err)
	}
	next.Workers.Tune = "off" // counts at a start alone: it is told every time
	for range 2 {
		done, err = d.Reload()
		if want := []string{"workers.tune: auto → off (at the next start)"}; err != nil || len(done.Changes) != 0 || !slices.Equal(done.Warnings, want) {
			t.Errorf("reload: %+v, %v; want the warning %q", done, err, want)
		}
	}
	next.Workers.Tune = "auto"
	bad := next
	bad.Services = append(slices.Clone(next.Services), config.Service{Spec: service.Spec{ID: service.ID{Family: 4, Protocol: service.UDP, Addr: id.Addr, Port: 53}, Scheduler: "nonsense"}})
	bad.Timeouts.UDP = 17
	s.config = &bad
	if _, err := d.Reload(); err == nil {
		t.Error("a faulty configuration was taken")
	}
	s.config = &next
	if v, err := d.Timeouts(); err != nil || v != service.DefaultTimeouts {
		t.Errorf("a refused reload left timeouts %+v, %v", v, err)
	}
	exchange(t, nat, 64<<10)
	exchange(t, dr, 64<<10)

	st, err := d.Status()
	if err != nil || len(st.Interfaces) != 2 || st.Interfaces[0].Mode == "" || len(st.Workers) != 1 || len(st.Workers[0].Queues) != 2 || st.Flows.Entries != 2 {
		t.Errorf("status %+v, %v", st, err)
	}
	// The last acknowledgements may still be on their way, and the worker counts on while its counters are read.
	for deadline := time.Now().Add(5 * time.Second); ; {
		tot := st.Total()
		if tot.RXPackets > 0 && tot.TXPackets > 0 && tot.RXPackets == st.Workers[0].Batch.Sum {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("totals %+v, batches of %d", tot, st.Workers[0].Batch.Sum)
			break
		}
		if st, err = d.Status(); err != nil {
			t.Fatal(err)
		}
	}
	conns := 0
	if err := d.Connections(func(e control.ConnEntry) error { conns++; return nil }); err != nil || conns != 2 {
		t.Errorf("%d connections, %v", conns, err)
	}

	// A second director keeps off, and changes nothing.
	s.in(&s.director)
	if other, err := New(Options{Config: s.config}); err == nil {
		other.Stop()
		t.Error("a second director started on the same interfaces")
	} else if !errors.Is(err, xdp.ErrInUse) {
		t.Errorf("second director: %v", err)
	}
	exchange(t, nat, 64<<10)

	// It stops and leaves everything as it was; the next one goes on where it ended.
	s.in(&s.director)
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if now := s.found(); now != before {
		t.Errorf("left behind:\n%s\nfound:\n%s", now, before)
	}
	if _, err := d.Status(); !errors.Is(err, errStopped) {
		t.Errorf("a stopped director answers: %v", err)
	}
	d = s.start()
	exchange(t, nat, 64<<10)
	exchange(t, dr, 64<<10)
	list, err := d.Services()
	if err != nil || len(list) != 3 || list[2].Spec.ID != id || list[0].Servers[0].Spec.Weight != 5 {
		t.Errorf("restored services %+v, %v", list, err)
	}
	if list[0].Servers[0].Active != 1 {
		t.Errorf("active connections of the adopted server: %+v", list[0].Servers[0])
	}

	// A removed server's connection goes on; an interface that goes away harms nobody else.
	ok(t, s.director.h.LinkDel(s.director.link(t, "s")))
	if _, err := d.Info(); err != nil {
		t.Error(err)
	}
}

// TestOwnTraffic sends from a real server's service port what belongs to no connection: the kernel's to forward.
func TestOwnTraffic(t *testing.T) {
	s := newSite(t)
	ok(t, sysctl{name: "net/ipv4/conf/all/rp_filter", value: "1"}.write()) // strict: the device cannot have less than loose
	d := s.start()
	s.in(&s.client)
	to, err := net.ListenPacket("udp4", "10.10.0.2:9999")
	ok(t, err)
	defer to.Close()
	s.in(&s.director)
	if _, err := d.Apply([]control.Op{
		{Kind: control.AddService, Service: service.Spec{ID: service.ID{Family: 4, Protocol: service.UDP, Addr: netip.MustParseAddr(vip), Port: 53}, Scheduler: "rr"}},
		{Kind: control.AddServer, Service: service.Spec{ID: service.ID{Family: 4, Protocol: service.UDP, Addr: netip.MustParseAddr(vip), Port: 53}},
			Server: service.ServerSpec{ServerID: service.ServerID{Addr: netip.MustParseAddr("10.20.0.2"), Port: 53}, Weight: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	s.in(&s.server)
	from, err := net.ListenPacket("udp4", "10.20.0.2:53")
	ok(t, err)
	defer from.Close()
	ok(t, to.SetDeadline(time.Now().Add(10*time.Second)))
	for i := range 3 {
		_, err := from.WriteTo([]byte{byte(i)}, &net.UDPAddr{IP: net.IP{10, 10, 0, 2}, Port: 9999})
		ok(t, err)
		var b [8]byte
		if n, a, err := to.ReadFrom(b[:]); err != nil || n != 1 || b[0] != byte(i) || a.String() != "10.20.0.2:53" {
			t.Fatalf("packet %d: %d bytes from %v, %v", i, n, a, err)
		}
	}
	st, err := d.Status()
	for end := time.Now().Add(5 * time.Second); err == nil && st.Kernel.Packets < 3 && time.Now().Before(end); st, err = d.Status() {
		runtime.Gosched() // a packet is counted when it has been written, by when it may have arrived
	}
	if err != nil || st.Kernel.Packets != 3 || st.Kernel.Dropped != 0 || st.Kernel.Errors != 0 {
		t.Errorf("through %s: %+v, %v", tunName, st.Kernel, err)
	}
}

func TestRefusals(t *testing.T) {
	s := newSite(t)
	s.in(&s.director)
	ok(t, s.director.h.LinkSetDown(s.director.link(t, "s")))
	for _, c := range []struct {
		name, want string
		change     func(*config.Config)
	}{
		{"no interface", "no interface", func(c *config.Config) { c.Interfaces = nil }},
		{"unknown interface", "interface nope: no such interface", func(c *config.Config) { c.Interfaces[0].Name = "nope" }},
		{"loopback", "no Ethernet", func(c *config.Config) { c.Interfaces[0].Name = "lo" }},
		{"down", "ip link set s up", func(*config.Config) {}},
		{"queue", "there is no queue 7", func(c *config.Config) { c.Interfaces[0].Queues = []int{7}; c.Interfaces = c.Interfaces[:1] }},
		{"state", "flows.state", func(c *config.Config) { c.Flows.State = "/proc/nothing/flows"; c.Interfaces = c.Interfaces[:1] }},
		{"zero-copy", "not supported", func(c *config.Config) { c.Interfaces[0].Attach = "zerocopy"; c.Interfaces = c.Interfaces[:1] }},
	} {
		cfg := *s.config
		cfg.Interfaces = slices.Clone(s.config.Interfaces)
		c.change(&cfg)
		before := s.found()
		d, err := New(Options{Config: &cfg})
		if err == nil {
			d.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if now := s.found(); now != before {
			t.Errorf("%s: left behind:\n%s", c.name, now)
		}
	}
	if err := explainState("", syscall.ENOMEM); !strings.HasPrefix(err.Error(), "flows: ") || strings.Contains(err.Error(), ": :") {
		t.Errorf("memory without a name: %v", err)
	}
	if err := explainState("x", syscall.ENOSPC); !strings.Contains(err.Error(), "capacity") {
		t.Error(err)
	}
}
