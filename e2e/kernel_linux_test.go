package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/lab"
)

// What is nobody's business stays the kernel's while the director runs: ping, a daemon on the director itself, the
// servers' own connections to the outside.
func TestKernelKeepsItsTraffic(t *testing.T) {
	for _, attach := range []string{"copy", "generic"} {
		t.Run(attach, func(t *testing.T) {
			s := site(t, lab.Options{})
			direct(t, s, lab.DirectorConfig{Attach: attach, Services: services(s.Plan)})
			for _, family := range []int{4, 6} {
				t.Run(fmt.Sprintf("v%d", family), func(t *testing.T) {
					t.Run("ping", func(t *testing.T) { checkPing(t, s, family) })
					t.Run("local", func(t *testing.T) { checkLocalDaemon(t, s, family) })
					t.Run("servers", func(t *testing.T) { checkServersOwn(t, s, family) })
					t.Run("service-port", func(t *testing.T) { checkServersOwnFromServicePort(t, s, family) })
				})
			}
		})
	}
}

// checkPing pings the VIP and the director's own address.
func checkPing(t *testing.T, s *lab.Site, family int) {
	for _, to := range []netip.Addr{s.Plan.VIP("nat").Addr(family), s.Plan.VIP("dr").Addr(family), own(s.Plan.Router.Interfaces[0], family)} {
		if err := ping(s, to); err != nil {
			t.Errorf("ping %s: %v", to, err)
		}
	}
}

// checkLocalDaemon runs an SSH-like daemon in the director's own namespace and talks to it by its address and by a VIP.
func checkLocalDaemon(t *testing.T, s *lab.Site, family int) {
	listener := listen(t, s, lab.Director, ":22")
	go serveGreeting(listener, "SSH-2.0-lab\r\n")
	for _, addr := range []netip.Addr{own(s.Plan.Router.Interfaces[0], family), s.Plan.VIP("nat").Addr(family)} {
		checkGreeting(t, s, lab.Client, nil, netip.AddrPortFrom(addr, 22), "SSH-2.0-lab\r\n")
	}
}

// checkServersOwn lets a real server connect to a host outside through the director, as to a database or an update mirror.
func checkServersOwn(t *testing.T, s *lab.Site, family int) {
	listener := listen(t, s, lab.Client, ":7000")
	go serveGreeting(listener, "from outside\n")
	from := &net.TCPAddr{IP: own(s.Plan.Servers[0].Interfaces[1], family).AsSlice()}
	to := netip.AddrPortFrom(own(s.Plan.Client.Interfaces[0], family), 7000)
	checkGreeting(t, s, s.Plan.Servers[0].Name, from, to, "from outside\n")
}

// checkServersOwnFromServicePort does the same from the very port of a NAT service: the XDP program must take such a
// packet, and the director has to hand it back (contract: what is left to the kernel).
func checkServersOwnFromServicePort(t *testing.T, s *lab.Site, family int) {
	server := s.Plan.Servers[1]
	service := s.Plan.Service("nat", family).On(s.Plan, "udp", 7100, family)
	for _, command := range service.Commands() {
		if _, err := s.Fastlb(append([]string{"ipvsadm"}, command...)...); err != nil {
			t.Fatal(err)
		}
	}
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(own(s.Plan.Client.Interfaces[0], family), 7200))
	from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(own(server.Interfaces[1], family), 7100))
	var receiver, sender *net.UDPConn
	if err := lab.In(s.Plan.Client.Namespace, func() (err error) { receiver, err = net.ListenUDP("udp", to); return err }); err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	if err := lab.In(server.Namespace, func() (err error) { sender, err = net.DialUDP("udp", from, to); return err }); err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	buf := make([]byte, 100)
	eventually(t, func() error {
		if _, err := sender.Write([]byte("my own")); err != nil {
			return err
		}
		_ = receiver.SetReadDeadline(time.Now().Add(time.Second))
		n, peer, err := receiver.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		if string(buf[:n]) != "my own" || netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()) != from.AddrPort() {
			return fmt.Errorf("%q from %v", buf[:n], peer)
		}
		return nil
	})
}

// A packet too long for the tunnel, that must not be fragmented, is answered with frag-needed or packet-too-big, and the
// client's kernel believes it.
func TestPathMTU(t *testing.T) {
	s := site(t, lab.Options{})
	direct(t, s, lab.DirectorConfig{Services: services(s.Plan)})
	for _, p := range []struct {
		path
		mtu int
	}{
		{path{"tunnel", 4, 4}, 1480}, {path{"tunnel", 6, 6}, 1460}, {path{"tunnel", 4, 6}, 1460}, {path{"tunnel", 6, 4}, 1480},
	} {
		t.Run(p.String(), func(t *testing.T) {
			// The client's kernel keeps a path's MTU by destination.
			if _, err := s.Run(lab.Client, "ip", fmt.Sprintf("-%d", p.vip), "route", "flush", "cache"); err != nil {
				t.Fatal(err)
			}
			c := dial(t, s, p.echo(s.Plan)).Conn.(*net.UDPConn)
			level, discover, do, mtu, header := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_MTU, 28
			if p.vip == 6 {
				level, discover, do, mtu, header = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_MTU, 48
			}
			raw, err := c.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			control := func(f func(fd int) error) {
				t.Helper()
				var inside error
				if err := errors.Join(raw.Control(func(fd uintptr) { inside = f(int(fd)) }), inside); err != nil {
					t.Fatal(err)
				}
			}
			control(func(fd int) error { return unix.SetsockoptInt(fd, level, discover, do) })
			eventually(t, func() error {
				if _, err := c.Write(make([]byte, 1500-header)); err != nil && !errors.Is(err, unix.EMSGSIZE) {
					return err
				}
				var got int
				control(func(fd int) (err error) { got, err = unix.GetsockoptInt(fd, level, mtu); return err })
				if got != p.mtu {
					return fmt.Errorf("the client's path MTU is %d, want %d", got, p.mtu)
				}
				return nil
			})
			// The last refusal may still wait to be reported.
			control(func(fd int) error { _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); return err })
			if name, answer, err := exchange(c, strings.Repeat("m", p.mtu-header)); err != nil || len(answer) != p.mtu-header {
				t.Errorf("a datagram of the path's MTU: %d bytes from %q, %v", len(answer), name, err)
			}
		})
	}
}

// A server's ICMP error about a NAT connection reaches the client as one about the client's own.
func TestICMPErrorIsTranslated(t *testing.T) {
	s := site(t, lab.Options{})
	var closed []lab.Service
	for _, family := range []int{4, 6} {
		closed = append(closed, s.Plan.Service("nat", family).On(s.Plan, "udp", 7300, family))
	}
	direct(t, s, lab.DirectorConfig{Services: closed})
	for _, service := range closed {
		c := dial(t, s, service)
		if _, _, err := exchange(c, "anybody?"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s, where no server listens: %v; want connection refused", service.Address, err)
		}
	}
}

// own is the interface's own address of a family.
func own(i lab.Interface, family int) netip.Addr {
	if family == 6 {
		return i.V6()
	}
	return i.V4()
}

// listen opens a TCP listener in a node, on both families.
func listen(t *testing.T, s *lab.Site, node, address string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := lab.In(s.Plan.Prefix+"-"+node, func() (err error) { l, err = net.Listen("tcp", address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveGreeting greets everybody and hangs up.
func serveGreeting(l net.Listener, text string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, text)
		c.Close()
	}
}

// checkGreeting connects and reads to the end.
func checkGreeting(t *testing.T, s *lab.Site, node string, from net.Addr, to netip.AddrPort, want string) {
	t.Helper()
	var c net.Conn
	if err := lab.In(s.Plan.Prefix+"-"+node, func() (err error) {
		c, err = (&net.Dialer{LocalAddr: from, Timeout: patience}).Dial("tcp", to.String())
		return err
	}); err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Errorf("%s says %q, %v; want %q", to, got, err, want)
	}
}
