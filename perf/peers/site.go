package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/lab"
)

// CPUs of the two sides.
const (
	generatorCPU = 0
	forwarderCPU = 1
)

// Addresses of the site. Clients and servers are nobody: the generator makes and takes every packet.
var (
	clients      = netip.PrefixFrom(clientBase, 15)
	virtual      = netip.MustParseAddrPort("192.0.2.10:5000")
	servers      = []netip.Addr{serverAddr(11), serverAddr(12), serverAddr(13), serverAddr(14)}
	insideAddr   = netip.MustParsePrefix("10.0.0.1/24")
	outsideAddr  = netip.MustParsePrefix("203.0.113.1/24")
	gateway      = netip.MustParseAddr("203.0.113.254") // the clients are behind it
	generatorMAC = net.HardwareAddr{2, 0, 0, 0, 0, 0x64}
	// forwarderMACs are those of eth0 and eth1; the generator's program knows that they differ in the last byte alone.
	forwarderMACs = []net.HardwareAddr{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}
)

func serverAddr(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, n}) }

// startPatience is how long a forwarder may take to forward its first packet.
const startPatience = 15 * time.Second

// site is the generator's namespace and, for each forwarder, one veth or two to a namespace of its own.
type site struct {
	dir        string
	binary     string   // fastlb
	generator  string   // namespace
	namespaces []string // all
	forwarders []*forwarder
}

func newSite(binary string) (*site, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("namespaces and AF_XDP need root")
	}
	if runtime.NumCPU() <= forwarderCPU {
		return nil, errors.New("generator and forwarder need a CPU each: there is one")
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w (`make build` makes it)", err)
	}
	dir, err := os.MkdirTemp("/run", "fastlb-peers-")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, binary: binary, generator: fmt.Sprintf("fastlb-peers-%d", os.Getpid())}
	if err := s.addNamespace(s.generator); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) addNamespace(name string) error {
	if err := lab.CreateNamespace(name); err != nil {
		return err
	}
	s.namespaces = append(s.namespaces, name)
	return lab.In(name, func() error { return up("lo") })
}

func (s *site) close() error {
	var errs []error
	for _, f := range s.forwarders {
		errs = append(errs, f.close())
	}
	for _, name := range s.namespaces {
		errs = append(errs, lab.RemoveNamespace(name))
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// forwarder is one of the compared with its veths.
type forwarder struct {
	kind      kind
	namespace string
	process   *lab.Process // nil: the kernel forwards
	source    *source
	sinks     []*sink
	outs      []*net.Interface // the generator's ends
	learnt    *ebpf.Map        // by flow: its server
	links     []link.Link
	socket    string // of fastlb's API
	config    string // fastlb's file
}

func (f *forwarder) close() error {
	var errs []error
	if f.process != nil {
		errs = append(errs, f.process.Stop())
	}
	for _, l := range f.links {
		errs = append(errs, l.Close())
	}
	for _, k := range f.sinks {
		errs = append(errs, k.close())
	}
	if f.source != nil {
		errs = append(errs, f.source.close())
	}
	if f.learnt != nil {
		errs = append(errs, f.learnt.Close())
	}
	return errors.Join(errs...)
}

// start lays the veths, starts the forwarder and waits until it forwards.
func (s *site) start(k kind, p plan) (*forwarder, error) {
	f, err := s.lay(k, p)
	if err == nil {
		err = s.run(f)
	}
	if err == nil && k.forwards {
		err = f.prime()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.name, err)
	}
	return f, nil
}

// lay makes the forwarder's namespace with its veths, and loads generator and sinks.
func (s *site) lay(k kind, p plan) (*forwarder, error) {
	f := &forwarder{kind: k, namespace: fmt.Sprintf("%s-%d", s.generator, len(s.forwarders))}
	if err := s.addNamespace(f.namespace); err != nil {
		return nil, err
	}
	var nears []string
	for arm := range k.arms {
		near := fmt.Sprintf("gen%d.%d", len(s.forwarders), arm)
		if err := s.cable(f.namespace, near, arm); err != nil {
			return nil, err
		}
		nears = append(nears, near)
	}
	s.forwarders = append(s.forwarders, f)
	if err := lab.In(f.namespace, func() error { return address(k.arms) }); err != nil {
		return nil, err
	}
	p.replies = k.arms == 2
	return f, lab.In(s.generator, func() (err error) {
		if f.learnt, err = newLearnt(max(p.flows, 1)); err != nil {
			return err
		}
		for _, near := range nears {
			i, err := net.InterfaceByName(near)
			if err != nil {
				return err
			}
			f.outs = append(f.outs, i)
			sink, err := newSink(i, f.learnt)
			if err != nil {
				return err
			}
			f.sinks = append(f.sinks, sink)
		}
		f.source, err = newSource(s.generator, f.outs, p, f.learnt)
		return err
	})
}

// cable makes a veth: near in the generator's namespace, the arm's ethN in the forwarder's.
func (s *site) cable(namespace, near string, arm int) error {
	far := fmt.Sprintf("eth%d", arm)
	err := lab.In(namespace, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = far, forwarderMACs[arm]
		veth := netlink.NewVeth(attrs)
		veth.PeerName, veth.PeerHardwareAddr = near, generatorMAC
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("create a veth: %w", err)
		}
		peer, err := netlink.LinkByName(near)
		if err != nil {
			return err
		}
		other, err := os.Open("/run/netns/" + s.generator)
		if err != nil {
			return err
		}
		defer other.Close()
		if err := netlink.LinkSetNsFd(peer, int(other.Fd())); err != nil {
			return fmt.Errorf("move %s: %w", near, err)
		}
		return up(far)
	})
	if err != nil {
		return err
	}
	return lab.In(s.generator, func() error { return up(near) })
}

// up sets a link of the calling thread's namespace up, with no IPv6 talk of its own to be counted.
func up(ifname string) error {
	l, err := netlink.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("%s: %w", ifname, err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+ifname+"/disable_ipv6", []byte("1"), 0o644); err != nil && !os.IsNotExist(err) {
		return err
	}
	return netlink.LinkSetUp(l)
}

// address gives the calling thread's namespace, a forwarder's, its addresses, the way to the clients and its neighbours.
// Behind one arm is everybody; behind two, the clients are outside (eth0) and the servers inside (the last).
func address(arms int) error {
	inside, err := netlink.LinkByName(fmt.Sprintf("eth%d", arms-1))
	if err != nil {
		return err
	}
	outside, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, a := range []struct {
		link    netlink.Link
		address netip.Prefix
	}{{outside, outsideAddr}, {inside, insideAddr}} {
		if err := netlink.AddrAdd(a.link, &netlink.Addr{IPNet: ipNet(a.address)}); err != nil {
			return fmt.Errorf("address %s: %w", a.link.Attrs().Name, err)
		}
	}
	route := &netlink.Route{LinkIndex: outside.Attrs().Index, Dst: ipNet(clients), Gw: gateway.AsSlice()}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("add the route to the clients: %w", err)
	}
	neighbour := func(l netlink.Link, ip netip.Addr) error {
		n := &netlink.Neigh{LinkIndex: l.Attrs().Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, IP: ip.AsSlice(),
			HardwareAddr: generatorMAC}
		if err := netlink.NeighSet(n); err != nil {
			return fmt.Errorf("add the neighbour %s: %w", ip, err)
		}
		return nil
	}
	err = neighbour(outside, gateway)
	for _, server := range servers {
		err = errors.Join(err, neighbour(inside, server))
	}
	return err
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// enter is a command line that runs another in a namespace, with /sys showing that namespace.
func (s *site) enter(namespace string, argv ...string) []string {
	return append([]string{s.binary, "lab", "enter", namespace}, argv...)
}

// do runs a command in a namespace to its end.
func (s *site) do(namespace string, argv ...string) error {
	argv = s.enter(namespace, argv...)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", argv[4:], err, out)
	}
	return nil
}

// count is how many packets have come back.
func (f *forwarder) count() (sum uint64, err error) {
	for _, k := range f.sinks {
		n, err := k.count()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// await asks ready until it is, and gives up when the forwarder ends or the patience does.
func (f *forwarder) await(ready func() error) error {
	if f.process != nil {
		return f.process.Await(startPatience, ready)
	}
	var err error
	for end := time.Now().Add(startPatience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = ready(); err == nil {
			return nil
		}
	}
	return err
}

// prime sends packets of all flows until the first comes back, then enough for every flow to be known; the sinks then
// forget how to learn.
func (f *forwarder) prime() error {
	err := f.await(func() error {
		if err := f.source.generate(func() error { return f.source.offer(64) }); err != nil {
			return err
		}
		n, err := f.count()
		if err == nil && n == 0 {
			err = errors.New("nothing comes back")
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := f.source.pace(1<<16, 256, 100_000); err != nil {
		return err
	}
	for _, k := range f.sinks {
		if err := k.settle(); err != nil {
			return err
		}
	}
	return nil
}

// output is what the forwarder printed, for messages.
func (f *forwarder) output() string {
	if f.process == nil {
		return "(the kernel does not print)"
	}
	return f.process.Output()
}
