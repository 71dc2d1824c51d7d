package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"

	"github.com/fastlb/fastlb/lab"
)

// kind is a sort of forwarder.
type kind struct {
	name     string
	arms     int
	forwards bool
	// run starts it in its namespace, where its veths are.
	run func(*site, *forwarder) error
}

// The forwarders that can be compared, and the two that forward nothing: what they cost is the generator's.
var (
	fastlbDR  = kind{"fastlb, DR", 1, true, runFastlb(defaultDirector)}
	ringOne   = kind{"ring, MAC swap", 1, true, runSelf(helperRing)}
	asavieOne = kind{"asavie/xdp, MAC swap", 1, true, runSelf(helperAsavie)}
	nothing1  = kind{"nothing", 1, false, runNothing}
	fastlbNAT = kind{"fastlb, NAT", 2, true, runFastlb(defaultDirector)}
	ringTwo   = kind{"ring, MAC swap", 2, true, runSelf(helperRing)}
	ringBusy  = kind{"ring, never sleeping", 2, true, runSelf(helperRing, "-busy")}
	nftables  = kind{"nftables, DNAT", 2, true, runNftables}
	routing   = kind{"the kernel, routing", 2, true, runRouter}
	nothing2  = kind{"nothing", 2, false, runNothing}
)

func (s *site) run(f *forwarder) error { return f.kind.run(s, f) }

// runSelf starts this program as a helper on the arms.
func runSelf(helper ...string) func(*site, *forwarder) error {
	return func(s *site, f *forwarder) (err error) {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		argv := append(append([]string{self}, helper...), "eth0")
		if f.kind.arms == 2 {
			argv = append(argv, "eth1")
		}
		f.process, err = lab.StartIn(f.namespace, f.kind.name, filepath.Join(s.dir, f.namespace+".log"), argv...)
		return err
	}
}

// runNothing drops what arrives.
func runNothing(s *site, f *forwarder) error {
	return lab.In(f.namespace, func() error {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "peers_drop", Type: ebpf.XDP, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()}})
		if err != nil {
			return fmt.Errorf("load the dropping program: %w", err)
		}
		defer program.Close()
		for arm := range f.kind.arms {
			i, err := net.InterfaceByName(fmt.Sprintf("eth%d", arm))
			if err != nil {
				return err
			}
			l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: i.Index, Flags: link.XDPDriverMode})
			if err != nil {
				return fmt.Errorf("attach to %s: %w", i.Name, err)
			}
			f.links = append(f.links, l)
		}
		return nil
	})
}

// runRouting makes the kernel forward, its work on the forwarder's CPU: a veth's NAPI runs where the packet was sent, so
// the packets are handed over (RPS), as a NIC would by interrupting there. A veth whose peer redirects to it needs GRO.
func runRouting(s *site, f *forwarder) error {
	for arm := range f.kind.arms {
		ifname := fmt.Sprintf("eth%d", arm)
		script := fmt.Sprintf("ethtool -K %s gro on && echo %x >/sys/class/net/%s/queues/rx-0/rps_cpus", ifname, 1<<forwarderCPU, ifname)
		if err := s.do(f.namespace, "sh", "-c", script); err != nil {
			return err
		}
	}
	return lab.In(f.namespace, func() error {
		for path, value := range map[string]string{"ip_forward": "1", "conf/all/rp_filter": "0", "conf/eth0/rp_filter": "0", "conf/eth1/rp_filter": "0"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+path, []byte(value), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

// runRouter is routing to where the service would be.
func runRouter(s *site, f *forwarder) error {
	if err := runRouting(s, f); err != nil {
		return err
	}
	return lab.In(f.namespace, func() error {
		inside, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		to := ipNet(netip.PrefixFrom(virtual.Addr(), 32))
		return netlink.RouteAdd(&netlink.Route{LinkIndex: inside.Attrs().Index, Dst: to, Gw: servers[0].AsSlice()})
	})
}

// runNftables is routing and a rule that spreads connections round robin over the servers.
func runNftables(s *site, f *forwarder) error {
	if err := runRouting(s, f); err != nil {
		return err
	}
	var list []string
	for i, server := range servers {
		list = append(list, fmt.Sprintf("%d: %s", i, server))
	}
	rules := fmt.Sprintf(`table ip peers {
	chain prerouting {
		type nat hook prerouting priority dstnat
		ip daddr %s udp dport %d dnat to numgen inc mod %d map { %s }
	}
}
`, virtual.Addr(), virtual.Port(), len(servers), strings.Join(list, ", "))
	path := filepath.Join(s.dir, f.namespace+".nft")
	if err := os.WriteFile(path, []byte(rules), 0o644); err != nil {
		return err
	}
	return s.do(f.namespace, "nft", "-f", path)
}

// runFastlb starts the director with the site's service.
func runFastlb(d director) func(*site, *forwarder) error {
	return func(s *site, f *forwarder) (err error) {
		base := filepath.Join(s.dir, f.namespace)
		f.socket, f.config = base+".sock", base+".yaml"
		if err := os.WriteFile(f.config, []byte(d.yaml(f)), 0o644); err != nil {
			return err
		}
		argv := s.enter(f.namespace, s.binary, "run", "--config", f.config)
		f.process, err = lab.StartIn(f.namespace, f.kind.name, base+".log", argv...)
		return err
	}
}

// director is what of a director's configuration the measurements vary.
type director struct {
	poll     string
	capacity int
	metrics  string // ADDRESS:PORT, "" for none
	timeout  string // of UDP
}

var defaultDirector = director{poll: "adaptive", capacity: 65536, timeout: "300s"}

func (d director) yaml(f *forwarder) string {
	forward, interfaces := "dr", "{name: eth0, attach: copy}"
	if f.kind.arms == 2 {
		forward, interfaces = "nat", interfaces+", {name: eth1, attach: copy}"
	}
	var list []string
	for _, server := range servers {
		list = append(list, fmt.Sprintf("{address: %q}", server))
	}
	return fmt.Sprintf(`interfaces: [%s]
workers: {cpus: "%d", poll: %s}
flows: {capacity: %d, state: ""}
timeouts: {udp: %s}
metrics: {listen: %q}
api: {socket: %q}
services:
  - address: %q
    protocol: udp
    scheduler: rr
    forward: %s
    servers: [%s]
`, interfaces, forwarderCPU, d.poll, d.capacity, d.timeout, d.metrics, f.socket, virtual, forward, strings.Join(list, ", "))
}
