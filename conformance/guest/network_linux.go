package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/conformance/wire"
)

// settings are those of the namespace, below /proc/sys/net: what the director sends depends on nothing but the case.
var settings = map[string]string{
	"ipv4/ip_forward":                    "1",
	"ipv4/conf/all/rp_filter":            "0",
	"ipv4/conf/default/rp_filter":        "0",
	"ipv4/conf/all/send_redirects":       "0",
	"ipv4/conf/default/send_redirects":   "0",
	"ipv4/icmp_ratelimit":                "0",
	"ipv6/conf/all/forwarding":           "1",
	"ipv6/conf/default/accept_dad":       "0",
	"ipv6/conf/default/accept_ra":        "0",
	"ipv6/conf/all/router_solicitations": "0",
	"ipv6/icmp/ratelimit":                "0",
}

// The datagrams that mark the end of a step go between these, past IPVS.
var (
	markOuter = netip.MustParseAddr("10.8.0.250")
	markInner = netip.MustParseAddr("10.2.0.250")
	markMAC   = wire.MAC("02:00:00:00:ba:11")
)

// site is the director's namespace of a case, with the other ends of its wires, which stay outside.
type site struct {
	outside, inside netns.NsHandle
	wires           map[string]int // packet sockets by side
}

// set writes a setting of the present namespace.
func set(name, value string) error {
	return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644)
}

// newSite makes the namespace and stays in it.
func newSite() (s *site, err error) {
	s = &site{wires: map[string]int{}}
	if s.outside, err = netns.Get(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.inside, err = netns.New(); err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	for name, value := range settings {
		if err := set(name, value); err != nil {
			return nil, err
		}
	}
	for _, f := range wire.Interfaces {
		v := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: f.Name, HardwareAddr: f.MAC[:], TxQLen: 1000},
			PeerName:  f.Peer, PeerNamespace: netlink.NsFd(s.outside),
		}
		if err := netlink.LinkAdd(v); err != nil {
			return nil, fmt.Errorf("interface %s: %w", f.Name, err)
		}
		if err := quiet(f.Name); err != nil {
			return nil, err
		}
	}
	if err := netns.Set(s.outside); err != nil {
		return nil, err
	}
	for _, f := range wire.Interfaces {
		if err := s.openWire(f); err != nil {
			return nil, err
		}
	}
	if err := netns.Set(s.inside); err != nil {
		return nil, err
	}
	return s, s.address()
}

// quiet switches off what would leave checksums or segments to the wire.
func quiet(name string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	have, err := e.Features(name)
	if err != nil {
		return fmt.Errorf("offloads of %s: %w", name, err)
	}
	off := map[string]bool{}
	for f, on := range have {
		if on && (strings.HasPrefix(f, "tx-checksum") || strings.Contains(f, "segmentation") || f == "tx-scatter-gather" || f == "tx-generic-segmentation" || f == "rx-gro") {
			off[f] = false
		}
	}
	if err := e.Change(name, off); err != nil {
		return fmt.Errorf("offloads of %s: %w", name, err)
	}
	return nil
}

// openWire opens the far end of an interface's wire.
func (s *site) openWire(f wire.Interface) error {
	l, err := netlink.LinkByName(f.Peer)
	if err != nil {
		return fmt.Errorf("interface %s: %w", f.Peer, err)
	}
	if err := set("ipv6/conf/"+f.Peer+"/disable_ipv6", "1"); err != nil {
		return err
	}
	if err := errors.Join(netlink.LinkSetARPOff(l), netlink.LinkSetUp(l), quiet(f.Peer)); err != nil {
		return fmt.Errorf("interface %s: %w", f.Peer, err)
	}
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	s.wires[f.Side] = fd
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all & 0xffff, Ifindex: l.Attrs().Index}),
	)
}

// address brings the director's interfaces up, with addresses, routes and neighbours.
func (s *site) address() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, f := range wire.Interfaces {
		l, err := netlink.LinkByName(f.Name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return fmt.Errorf("interface %s: %w", f.Name, err)
		}
		for _, p := range f.Addresses {
			on, a := l, &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
			if p.IsSingleIP() {
				on = lo
			}
			if p.Addr().Is6() {
				a.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(on, a); err != nil {
				return fmt.Errorf("address %s: %w", p, err)
			}
		}
		add := func(a netip.Addr, mac [6]byte) error {
			family := unix.AF_INET
			if a.Is6() {
				family = unix.AF_INET6
			}
			err := netlink.NeighAdd(&netlink.Neigh{LinkIndex: l.Attrs().Index, Family: family, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: mac[:]})
			if err != nil {
				return fmt.Errorf("neighbour %s: %w", a, err)
			}
			return nil
		}
		if f.Side == "r" {
			for i := 1; i <= wire.Servers; i++ {
				if err := errors.Join(add(wire.Server(4, i), wire.ServerMAC(i)), add(wire.Server(6, i), wire.ServerMAC(i))); err != nil {
					return err
				}
			}
			if err := add(markInner, markMAC); err != nil {
				return err
			}
			continue
		}
		for _, a := range wire.Routers {
			if err := add(a, wire.ClientMAC); err != nil {
				return err
			}
			to := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
			if a.Is6() {
				to = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
			}
			if err := netlink.RouteAdd(&netlink.Route{Dst: to, Gw: a.AsSlice()}); err != nil {
				return fmt.Errorf("route via %s: %w", a, err)
			}
		}
		if err := add(markOuter, markMAC); err != nil {
			return err
		}
	}
	return nil
}

// close takes the site away; the kernel forgets the namespace in its own time.
func (s *site) close() {
	for _, fd := range s.wires {
		unix.Close(fd)
	}
	if err := netns.Set(s.outside); err != nil {
		panic(err) // the next case would be played in this one's namespace
	}
	for _, f := range wire.Interfaces {
		if l, err := netlink.LinkByName(f.Peer); err == nil {
			_ = netlink.LinkDel(l)
		}
	}
	_ = s.inside.Close()
	_ = s.outside.Close()
	runtime.KeepAlive(s)
}
