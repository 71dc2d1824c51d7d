package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Site is a plan made real. It is not safe for concurrent use, but for Start, Run, Dial and Client.
type Site struct {
	Plan *Plan
	// Binary is the fastlb executable: it is the director, and the lab's own processes in the namespaces (the built-in
	// servers, the ends of the tunnels).
	Binary string
	// Dir holds the site's files: configurations, logs, the director's socket and connection table.
	Dir string

	processes []*Process
}

// NewSite prepares a site; Build makes it. dir is created, and removed by Close.
func NewSite(p *Plan, binary, dir string) *Site {
	return &Site{Plan: p, Binary: binary, Dir: dir}
}

// Build makes the namespaces, the switch and the cables. On failure nothing remains.
func (s *Site) Build() (err error) {
	if os.Geteuid() != 0 {
		return errors.New("lab: network namespaces need root: run it with sudo")
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, name := range s.Plan.Namespaces() {
		if err := CreateNamespace(name); err != nil {
			return err
		}
	}
	if err := s.buildSwitch(); err != nil {
		return err
	}
	for _, n := range s.Plan.Nodes() {
		if err := s.buildNode(n); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	if s.Plan.Machine {
		return s.plugTaps()
	}
	return nil
}

// Close ends the site's processes and removes its namespaces and files. It also takes away what another process of the
// lab left under the same names, so it may be called on a site that was never built.
func (s *Site) Close() error {
	var errs []error
	for _, p := range slices.Backward(s.processes) {
		errs = append(errs, p.Stop())
	}
	s.processes = nil
	for _, name := range s.Plan.Namespaces() {
		errs = append(errs, RemoveNamespace(name))
	}
	return errors.Join(append(errs, os.RemoveAll(s.Dir))...)
}

// Exists says whether any of the plan's namespaces is there.
func (s *Site) Exists() bool {
	return slices.ContainsFunc(s.Plan.Namespaces(), namespaceExists)
}

// buildSwitch makes a bridge for each segment. The switch itself speaks no IP.
func (s *Site) buildSwitch() error {
	space := s.Plan.namespace(Switch)
	if err := In(space, func() error {
		return Set([]Sysctl{
			{Path: "net/ipv6/conf/all/disable_ipv6", Value: "1"},
			{Path: "net/ipv6/conf/default/disable_ipv6", Value: "1"},
		})
	}); err != nil {
		return err
	}
	return withHandle(space, func(h *netlink.Handle) error {
		for _, segment := range []Segment{outside, inside} {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = segment.Bridge
			snooping := false // no querier here: neighbour solicitations must reach everybody
			if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
				return fmt.Errorf("create bridge %s: %w", attrs.Name, err)
			}
			if err := setUp(h, attrs.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// buildNode plugs the node into the switch and gives it addresses, routes and settings.
func (s *Site) buildNode(n Node) error {
	// Before the interfaces: "default" is what they start from.
	if err := In(n.Namespace, func() error { return Set(n.Sysctls) }); err != nil {
		return err
	}
	for _, i := range n.Interfaces {
		if err := s.plug(n, i); err != nil {
			return fmt.Errorf("interface %s: %w", i.Name, err)
		}
		if err := In(n.Namespace, func() error { return checksumInSoftware(i.Name) }); err != nil {
			return err
		}
	}
	return In(n.Namespace, func() error { return Address(n) })
}

// Address brings the node's interfaces up, lo among them, and gives them addresses and routes, in the calling thread's
// namespace.
func Address(n Node) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := setUp(h, "lo"); err != nil {
		return err
	}
	if err := addAddresses(h, "lo", n.Loopback); err != nil {
		return err
	}
	for _, i := range n.Interfaces {
		if err := setUp(h, i.Name); err != nil {
			return err
		}
		if err := addAddresses(h, i.Name, i.Addresses); err != nil {
			return err
		}
	}
	return addRoutes(h, n)
}

// plug makes the cable: a veth from the node to a port of the segment's bridge.
func (s *Site) plug(n Node, i Interface) error {
	peer, err := netns.GetFromName(n.Namespace)
	if err != nil {
		return err
	}
	defer peer.Close()
	return withHandle(s.Plan.namespace(Switch), func(h *netlink.Handle) error {
		bridge, err := h.LinkByName(i.Segment.Bridge)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = n.Name + "-" + i.Name // at most 13 of 15 characters
		attrs.NumTxQueues, attrs.NumRxQueues = s.Plan.Queues, s.Plan.Queues
		attrs.MasterIndex = bridge.Attrs().Index
		veth := netlink.NewVeth(attrs)
		veth.PeerName = i.Name
		veth.PeerHardwareAddr = i.MAC
		veth.PeerNamespace = netlink.NsFd(int(peer))
		veth.PeerNumTxQueues, veth.PeerNumRxQueues = uint32(s.Plan.Queues), uint32(s.Plan.Queues)
		if err := h.LinkAdd(veth); err != nil {
			return fmt.Errorf("create veth %s: %w", attrs.Name, err)
		}
		return setUp(h, attrs.Name)
	})
}

// plugTaps makes the ports for the NICs of a machine in the director's place.
func (s *Site) plugTaps() error {
	space := s.Plan.namespace(Switch)
	return In(space, func() error {
		for _, i := range s.Plan.Router.Interfaces {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = s.Plan.Tap(i)
			tap := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI}
			if s.Plan.Queues > 1 {
				tap.Flags |= netlink.TUNTAP_MULTI_QUEUE
			}
			if err := netlink.LinkAdd(tap); err != nil {
				return fmt.Errorf("create tap %s: %w", attrs.Name, err)
			}
			bridge, err := netlink.LinkByName(i.Segment.Bridge)
			if err != nil {
				return err
			}
			if err := errors.Join(netlink.LinkSetMaster(tap, bridge), netlink.LinkSetUp(tap)); err != nil {
				return fmt.Errorf("plug tap %s into %s: %w", attrs.Name, i.Segment.Bridge, err)
			}
		}
		return nil
	})
}

func addAddresses(h *netlink.Handle, ifname string, addresses []netip.Prefix) error {
	if len(addresses) == 0 {
		return nil
	}
	link, err := h.LinkByName(ifname)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		addr := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD // usable at once: nobody else is there
		}
		if err := h.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", a, ifname, err)
		}
	}
	return nil
}

func addRoutes(h *netlink.Handle, n Node) error {
	for _, r := range n.Routes {
		link, err := h.LinkByName(r.Interface)
		if err != nil {
			return err
		}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.To), Table: r.Table}
		if r.Via.IsValid() {
			route.Gw = r.Via.AsSlice()
		} else {
			route.Scope = netlink.SCOPE_LINK
		}
		if err := h.RouteAdd(route); err != nil {
			return fmt.Errorf("add route to %s: %w", r.To, err)
		}
	}
	for _, r := range n.Rules {
		rule := netlink.NewRule()
		rule.Src, rule.Table, rule.Priority = ipNet(r.From), r.Table, r.Table
		rule.Family = unix.AF_INET
		if r.From.Addr().Is6() {
			rule.Family = unix.AF_INET6
		}
		if err := h.RuleAdd(rule); err != nil {
			return fmt.Errorf("add routing rule for %s: %w", r.From, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func setUp(h *netlink.Handle, ifname string) error {
	link, err := h.LinkByName(ifname)
	if err == nil {
		err = h.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set %s up: %w", ifname, err)
	}
	return nil
}

// withHandle calls f with a netlink socket in the named namespace.
func withHandle(namespace string, f func(*netlink.Handle) error) error {
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", namespace, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in %s: %w", namespace, err)
	}
	defer h.Close()
	return f(h)
}

// Set writes settings of the calling thread's namespace: /proc/sys/net shows those of the thread that looks.
func Set(settings []Sysctl) error {
	for _, s := range settings {
		if err := os.WriteFile(filepath.Join("/proc/sys", s.Path), []byte(s.Value), 0o644); err != nil {
			return fmt.Errorf("set %s: %w", s.Path, err)
		}
	}
	return nil
}
