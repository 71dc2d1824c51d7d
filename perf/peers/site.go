package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fastlb/fastlb/lab"
)

// Addresses of the site. The server is nobody: the generator takes every packet.
var (
	clientAddr   = netip.MustParseAddr("198.51.100.7")
	virtual      = netip.MustParseAddrPort("192.0.2.10:5000")
	serverAddr   = netip.MustParseAddrPort("10.0.0.11:5000")
	directorAddr = netip.MustParsePrefix("10.0.0.1/24")
	generatorMAC = net.HardwareAddr{2, 0, 0, 0, 0, 0x64}
	forwarderMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
)

// startPatience is how long a forwarder may take to forward its first packet.
const startPatience = 15 * time.Second

// site is the generator's namespace and, for each forwarder, a veth to a namespace of its own.
type site struct {
	dir        string
	generator  string   // namespace
	namespaces []string // all
	forwarders []*forwarder
}

// forwarder is one of the compared programs with its veth.
type forwarder struct {
	name    string
	process *lab.Process
	source  *source
	sink    *sink
}

func newSite() (*site, error) {
	dir, err := os.MkdirTemp("/run", "fastlb-peers-")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, generator: fmt.Sprintf("fastlb-peers-%d", os.Getpid())}
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
		errs = append(errs, f.process.Stop(), f.sink.link.Close())
	}
	for _, name := range s.namespaces {
		errs = append(errs, lab.RemoveNamespace(name))
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// start lays the veth, starts the forwarder and waits until a packet comes back.
func (s *site) start(name, binary string) (*forwarder, error) {
	namespace := s.generator + "-" + name
	if err := s.addNamespace(namespace); err != nil {
		return nil, err
	}
	near := fmt.Sprintf("gen%d", len(s.forwarders))
	f := &forwarder{name: name}
	if err := s.cable(namespace, near); err != nil {
		return nil, err
	}
	err := lab.In(s.generator, func() error {
		i, err := net.InterfaceByName(near)
		if err != nil {
			return err
		}
		if f.sink, err = newSink(i); err != nil {
			return err
		}
		f.source, err = newSource(s.generator, i, datagram(generatorMAC, forwarderMAC, clientAddr, virtual))
		return err
	})
	if err != nil {
		return nil, err
	}
	argv, err := s.command(name, binary, namespace)
	if err != nil {
		return nil, err
	}
	if f.process, err = lab.StartIn(namespace, name, filepath.Join(s.dir, name+".log"), argv...); err != nil {
		return nil, err
	}
	s.forwarders = append(s.forwarders, f)
	return f, f.process.Await(startPatience, func() error {
		if err := f.source.offer(batch); err != nil {
			return err
		}
		n, err := f.sink.count()
		if err == nil && n == 0 {
			err = errors.New("nothing comes back")
		}
		return err
	})
}

// cable makes the veth: near in the generator's namespace, eth0 in the forwarder's.
func (s *site) cable(namespace, near string) error {
	err := lab.In(namespace, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = "eth0", forwarderMAC
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
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: directorAddr.Addr().AsSlice(), Mask: net.CIDRMask(24, 32)}}
		if err := netlink.AddrAdd(veth, addr); err != nil {
			return fmt.Errorf("address eth0: %w", err)
		}
		return up("eth0")
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

// command is what runs in the forwarder's namespace.
func (s *site) command(name, binary, namespace string) ([]string, error) {
	if name != fastlbName {
		self, err := os.Executable()
		return []string{self, name, "eth0"}, err
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`interfaces: [{name: eth0, attach: copy}]
workers: {cpus: "%d", batch: %d}
flows: {capacity: 65536, state: ""}
metrics: {listen: ""}
api: {socket: %q}
neighbors: {%s: %q}
services:
  - address: %q
    protocol: udp
    scheduler: rr
    forward: dr
    servers: [{address: %q}]
`, forwarderCPU, batch, s.dir+"/fastlb.sock", serverAddr.Addr(), generatorMAC, virtual, serverAddr)
	path := filepath.Join(s.dir, "fastlb.yaml")
	return []string{binary, "lab", "enter", namespace, binary, "run", "--config", path}, os.WriteFile(path, []byte(config), 0o644)
}

// cpuTime returns the user and system time that a process has used: fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms.
func cpuTime(pid int) (user, system time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("the forwarder has ended: %w", err)
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // begins with field 3
	ticks := func(field int) time.Duration {
		n, convErr := strconv.ParseInt(string(fields[field-3]), 10, 64)
		err = errors.Join(err, convErr)
		return time.Duration(n) * time.Second / 100
	}
	return ticks(14), ticks(15), err
}
