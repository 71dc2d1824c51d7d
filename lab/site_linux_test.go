package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/packet"
)

// TestMain lets the test binary stand in for fastlb in the namespaces: it is started there as `lab server …`.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "lab" && os.Args[2] == "server" {
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
		defer stop()
		if err := serveAs(ctx, os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveAs understands --name NAME --ports LIST.
func serveAs(ctx context.Context, args []string) error {
	var ports []uint16
	for _, word := range strings.Split(args[3], ",") {
		p, err := strconv.ParseUint(word, 10, 16)
		if err != nil {
			return err
		}
		ports = append(ports, uint16(p))
	}
	return Serve(ctx, args[1], ports)
}

// needRoot skips where namespaces cannot be made; on machines meant to run everything that is a failure.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("FASTLB_REQUIRE_E2E") == "1" {
		t.Fatal("FASTLB_REQUIRE_E2E=1, but not root: network namespaces need root")
	}
	t.Skip("network namespaces need root")
}

func testSite(t *testing.T, nginx string) *Site {
	t.Helper()
	needRoot(t)
	p, err := NewPlan(Options{Prefix: fmt.Sprintf("lab-%d", os.Getpid()), Servers: 2, Queues: 2})
	if err != nil {
		t.Fatal(err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := NewSite(p, binary, t.TempDir()+"/site")
	if err := s.Build(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s.Exists() {
			t.Error("namespaces remain")
		}
		if _, err := os.Stat(s.Dir); err == nil {
			t.Errorf("%s remains", s.Dir)
		}
	})
	if err := s.StartServers(nginx); err != nil {
		t.Fatal(err)
	}
	return s
}

// Without a director: every server answers on both its arms, in both families, and the client reaches the inside
// addresses by the director's kernel as a router.
func TestSiteServersAnswer(t *testing.T) {
	for _, nginx := range []string{"", FindNginx()} {
		s := testSite(t, nginx)
		client := s.HTTPClient(Client, 5*time.Second)
		for _, n := range s.Plan.Servers {
			for _, i := range n.Interfaces {
				for _, prefix := range i.Addresses {
					for _, port := range []uint16{WebPort, AltPort, BulkPort} {
						name, err := AskName(t.Context(), client, netip.AddrPortFrom(prefix.Addr(), port))
						if err != nil || name != n.Name {
							t.Errorf("%s of %s port %d answers %q, %v", prefix.Addr(), n.Name, port, name, err)
						}
					}
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if nginx == "" && FindNginx() == "" {
			break
		}
	}
}

// The VIPs are announced by the director alone: the client learns its MAC address, and no server's.
func TestSiteHidesTheServersVIPs(t *testing.T) {
	s := testSite(t, "")
	director := s.Plan.Router.Interfaces[0].MAC.String()
	for _, v := range s.Plan.VIPs {
		for _, addr := range []netip.Addr{v.V4, v.V6} {
			// Nothing listens there: the refusal comes from the director's kernel.
			if conn, err := s.Dial(t.Context(), Client, "tcp", netip.AddrPortFrom(addr, 80).String()); err == nil {
				conn.Close()
				t.Errorf("%s answers without a director", addr)
			}
			out, err := s.Run(Client, "ip", "neigh", "show", addr.String())
			if err != nil || !strings.Contains(out, director) {
				t.Errorf("%s is at %q, %v; want %s", addr, out, err, director)
			}
		}
	}
}

// A machine's place has a port with all queues on each segment, and no namespace.
func TestSiteLeavesThePlaceToAMachine(t *testing.T) {
	needRoot(t)
	p, err := NewPlan(Options{Prefix: fmt.Sprintf("lab-%d", os.Getpid()), Servers: 1, Queues: 2, Machine: true})
	if err != nil {
		t.Fatal(err)
	}
	s := NewSite(p, "", t.TempDir()+"/site")
	if err := s.Build(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil || s.Exists() {
			t.Errorf("close: %v, namespaces remain: %v", err, s.Exists())
		}
	}()
	if namespaceExists(p.Router.Namespace) {
		t.Errorf("there is a namespace %s", p.Router.Namespace)
	}
	for _, i := range p.Router.Interfaces {
		out, err := s.Run(Switch, "ip", "-d", "link", "show", p.Tap(i))
		for _, want := range []string{"master " + i.Segment.Bridge, "tun type tap", "multi_queue", ",UP"} {
			if err != nil || !strings.Contains(out, want) {
				t.Errorf("%s: no %q in %q, %v", p.Tap(i), want, out, err)
			}
		}
	}
}

// A server unwraps IP-in-IP of all four family combinations, and answers from the VIP straight to the client.
func TestSiteEndsTunnels(t *testing.T) {
	s := testSite(t, "")
	server, vip := s.Plan.Servers[0], s.Plan.VIP("tunnel")
	for _, outer := range []int{4, 6} {
		for _, inner := range []int{4, 6} {
			t.Run(fmt.Sprintf("%din%d", inner, outer), func(t *testing.T) {
				own, to := s.Plan.Client.Interfaces[0].V4(), server.Interfaces[1].V4()
				if inner == 6 {
					own = s.Plan.Client.Interfaces[0].V6()
				}
				if outer == 6 {
					to = server.Interfaces[1].V6()
				}
				var conn *net.UDPConn
				if err := In(s.Plan.Client.Namespace, func() (err error) {
					conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 40000)))
					return err
				}); err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				sendTunnelled(t, s, to, datagram(own, vip.Addr(inner), 40000, EchoPort, []byte("hello")))
				buf := make([]byte, 100)
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				n, from, err := conn.ReadFromUDPAddrPort(buf)
				if err != nil || string(buf[:n]) != "web1 hello" || from.Addr().Unmap() != vip.Addr(inner) {
					t.Errorf("%q from %v, %v", buf[:n], from, err)
				}
			})
		}
	}
}

// sendTunnelled sends an IP packet from the director as the payload of another.
func sendTunnelled(t *testing.T, s *Site, to netip.Addr, inner []byte) {
	t.Helper()
	protocol := unix.IPPROTO_IPIP
	if inner[0]>>4 == 6 {
		protocol = unix.IPPROTO_IPV6
	}
	err := In(s.Plan.Router.Namespace, func() error {
		family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte(to.AsSlice())})
		if to.Is6() {
			family, address = unix.AF_INET6, &unix.SockaddrInet6{Addr: to.As16()}
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, inner, 0, address)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// datagram builds an IP packet with a UDP datagram, from the RFCs and by hand: it is the test's own idea of one.
func datagram(src, dst netip.Addr, sport, dport uint16, payload []byte) []byte {
	var udp []byte
	udp = binary.BigEndian.AppendUint16(udp, sport)
	udp = binary.BigEndian.AppendUint16(udp, dport)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(payload)))
	udp = append(append(udp, 0, 0), payload...)
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = append(binary.BigEndian.AppendUint32(pseudo, uint32(len(udp))), 0, 0, 0, 17)
	binary.BigEndian.PutUint16(udp[6:], packet.Sum(0).AddBytes(append(pseudo, udp...)).Checksum())
	if src.Is6() {
		ip := []byte{0x60, 0, 0, 0, 0, byte(len(udp)), 17, 64}
		return append(append(append(ip, src.AsSlice()...), dst.AsSlice()...), udp...)
	}
	ip := []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 0, 0x40, 0, 64, 17, 0, 0}
	ip = append(append(ip, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(ip[10:], packet.Sum(0).AddBytes(ip).Checksum())
	return append(ip, udp...)
}

// What a killed lab leaves is found by its names and taken away: processes, namespaces, files.
func TestSiteCloseRemovesAnothersRemains(t *testing.T) {
	s := testSite(t, "")
	first := s.processes[0]
	if err := NewSite(s.Plan, s.Binary, s.Dir).Close(); err != nil {
		t.Fatal(err)
	}
	if s.Exists() {
		t.Error("namespaces remain")
	}
	select {
	case <-first.Ended():
	case <-time.After(5 * time.Second):
		t.Error("a process remains")
	}
}

func TestBuildRefusesToTakeOver(t *testing.T) {
	s := testSite(t, "")
	if err := CreateNamespace(s.Plan.Client.Namespace); err == nil || !strings.Contains(err.Error(), "lab down") {
		t.Errorf("a second site of the same name: %v", err)
	}
}
