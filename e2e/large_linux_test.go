package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/lab"
)

const (
	jumbo     = 9000 // MTU
	jumboData = 8900 // bytes of a datagram that goes through it in one piece, even in a tunnel
)

// mtus sets the MTU of every interface on the two segments of a site, bridges and their ports included.
func mtus(t *testing.T, s *lab.Site, outside, inside int) {
	t.Helper()
	of := map[string]int{"outside": outside, "inside": inside}
	set := func(namespace, name string, mtu int) {
		t.Helper()
		err := lab.In(namespace, func() error {
			l, err := netlink.LinkByName(name)
			if err == nil {
				err = netlink.LinkSetMTU(l, mtu)
			}
			return err
		})
		if err != nil {
			t.Fatalf("MTU of %s: %v", name, err)
		}
	}
	space := s.Plan.Prefix + "-" + lab.Switch
	for _, n := range s.Plan.Nodes() {
		for _, i := range n.Interfaces {
			mtu := of[i.Segment.Name]
			set(space, n.Name+"-"+i.Name, mtu)
			set(n.Namespace, i.Name, mtu)
		}
	}
	for name, mtu := range of {
		set(space, name, mtu)
	}
}

// status is what the test reads of a director's status.
type status struct {
	Warnings   []string `json:"warnings"`
	Interfaces []struct {
		Name    string `json:"name"`
		Mode    string `json:"mode"`
		MTU     int    `json:"mtu"`
		Longest int    `json:"longest_packet"`
		Why     string `json:"why"`
	} `json:"interfaces"`
	Workers []struct {
		RXPackets uint64            `json:"rx_packets"`
		RXBytes   uint64            `json:"rx_bytes"`
		TXPackets uint64            `json:"tx_packets"`
		Drops     map[string]uint64 `json:"drops"`
	} `json:"workers"`
}

func readStatus(t *testing.T, s *lab.Site) (st status) {
	t.Helper()
	out, err := s.Fastlb("status", "--output", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &st)
	}
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// MTU 9000 on all links: every method and family carries large segments and whole large datagrams both ways.
func TestLargeFrames(t *testing.T) {
	for _, attach := range []string{"copy", "generic"} {
		for _, queues := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/%dq", attach, queues), func(t *testing.T) {
				s := site(t, lab.Options{Queues: queues})
				mtus(t, s, jumbo, jumbo)
				direct(t, s, lab.DirectorConfig{Attach: attach, Services: services(s.Plan)})
				checkAttached(t, s, attach, queues)
				for _, i := range readStatus(t, s).Interfaces {
					if i.MTU != jumbo || i.Longest < jumbo {
						t.Errorf("%s: MTU %d, packets up to %d", i.Name, i.MTU, i.Longest)
					}
				}
				for _, p := range paths {
					t.Run(p.String(), func(t *testing.T) {
						t.Run("bulk", func(t *testing.T) { checkLargeBulk(t, s, p) })
						t.Run("udp", func(t *testing.T) { checkLargeDatagrams(t, s, p) })
						t.Run("fragments", func(t *testing.T) { checkLargeFragments(t, s, p) })
					})
				}
				for _, family := range []int{4, 6} {
					for _, to := range []netip.Addr{s.Plan.VIP("nat").Addr(family), own(s.Plan.Router.Interfaces[0], family)} {
						if err := pingWith(s, to, make([]byte, jumboData)); err != nil {
							t.Errorf("ping %v with %d bytes: %v", to, jumboData, err)
						}
					}
				}
				for _, w := range readStatus(t, s).Workers {
					if w.Drops["oversize"]+w.Drops["bad_ip_header"]+w.Drops["no_frame"] > 0 {
						t.Errorf("drops %v", w.Drops)
					}
				}
			})
		}
	}
}

// checkLargeBulk is checkBulk, and looks whether the segments were large.
func checkLargeBulk(t *testing.T, s *lab.Site, p path) {
	before := readStatus(t, s)
	checkBulk(t, s, p)
	after := readStatus(t, s)
	longest := uint64(0)
	var packets, bytes uint64
	for i := range after.Workers {
		packets += after.Workers[i].RXPackets - before.Workers[i].RXPackets
		bytes += after.Workers[i].RXBytes - before.Workers[i].RXBytes
	}
	if packets > 0 {
		longest = bytes / packets
	}
	if longest < 3000 { // every other packet of a transfer may be an acknowledgement
		t.Errorf("%d packets of %d bytes on average: segments were not large", packets, longest)
	}
}

// checkLargeDatagrams exchanges datagrams that go through an MTU of 9000 in one piece.
func checkLargeDatagrams(t *testing.T, s *lab.Site, p path) {
	c := dial(t, s, p.echo(s.Plan))
	for i := range 20 {
		payload := make([]byte, jumboData-i*397)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(payload)
		name, answer, err := exchange(c, string(payload))
		if err != nil || answer != string(payload) {
			t.Fatalf("datagram of %d bytes: %d came back from %q, %v", len(payload), len(answer), name, err)
		}
	}
}

// checkLargeFragments exchanges a datagram that needs several fragments of 9000 bytes.
func checkLargeFragments(t *testing.T, s *lab.Site, p path) {
	c := dial(t, s, p.echo(s.Plan))
	payload := make([]byte, 30000)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(payload)
	name, answer, err := exchange(c, string(payload))
	if err != nil || answer != string(payload) {
		t.Errorf("%d of %d bytes came back from %s, or others, %v", len(answer), len(payload), name, err)
	}
}

// Links of different MTUs: a sender whose packets do not fit the other side is told so, and TCP goes on with smaller ones.
func TestMixedMTUs(t *testing.T) {
	for _, c := range []struct{ outside, inside int }{{1500, jumbo}, {jumbo, 1500}} {
		t.Run(fmt.Sprintf("%d-%d", c.outside, c.inside), func(t *testing.T) {
			s := site(t, lab.Options{})
			mtus(t, s, c.outside, c.inside)
			direct(t, s, lab.DirectorConfig{Attach: "copy", Services: services(s.Plan)})
			least := map[netip.Addr]int{}
			for _, p := range paths {
				t.Run(p.String(), func(t *testing.T) {
					t.Run("bulk", func(t *testing.T) { checkBulk(t, s, p) })
					if c.outside > c.inside && p.method != "dr" { // its servers are outside
						t.Run("told", func(t *testing.T) { checkTold(t, s, p, c.inside, least) })
					}
				})
			}
		})
	}
}

// checkTold sends a datagram that fits the client's link and not the servers', with DF: the kernel must learn the path's
// MTU from the director, which is the servers' MTU less a tunnel's headers. least is what it has learnt by VIP: that only
// ever becomes less.
func checkTold(t *testing.T, s *lab.Site, p path, mtu int, least map[netip.Addr]int) {
	a := p.echo(s.Plan).Address
	want := mtu
	if p.method == "tunnel" {
		want -= 20
		if p.server == 6 {
			want -= 20
		}
	}
	if n := least[a.Addr()]; n > 0 {
		want = min(want, n)
	}
	least[a.Addr()] = want
	var fd int
	err := lab.In(s.Plan.Client.Namespace, func() (err error) {
		family := unix.AF_INET
		if p.vip == 6 {
			family = unix.AF_INET6
		}
		fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	level, discover, do, get := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_MTU
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(a.Port()), Addr: [4]byte(a.Addr().AsSlice()[:4])}
	if p.vip == 6 {
		level, discover, do, get = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_MTU
		to = &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	if err := unix.SetsockoptInt(fd, level, discover, do); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, to); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if _, err := unix.Write(fd, make([]byte, jumboData)); err != nil && !errors.Is(err, syscall.EMSGSIZE) && !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		got, err := unix.GetsockoptInt(fd, level, get)
		if err == nil && got != want {
			err = fmt.Errorf("the path's MTU is %d as the client knows it, want %d", got, want)
		}
		return err
	})
}

// An MTU that grows while the director runs: what it cannot carry is said, with what to do.
func TestMTUGrows(t *testing.T) {
	s := site(t, lab.Options{})
	direct(t, s, lab.DirectorConfig{Attach: "generic", Services: services(s.Plan)})
	if w := strings.Join(readStatus(t, s).Warnings, "\n"); strings.Contains(w, "MTU") {
		t.Errorf("at MTU 1500: %s", w)
	}
	mtus(t, s, jumbo, jumbo)
	eventually(t, func() error {
		w := strings.Join(readStatus(t, s).Warnings, "\n")
		for _, want := range []string{"MTU of eth0: it is 9000", "longer than 3822", "ip link set eth0 mtu 3822", "restart the director"} {
			if !strings.Contains(w, want) {
				return fmt.Errorf("no %q among the warnings: %s", want, w)
			}
		}
		return nil
	})
	out, err := s.Fastlb("status")
	if err != nil || !strings.Contains(out, "3822") {
		t.Errorf("status does not show the longest packet: %v\n%s", err, out)
	}
}
