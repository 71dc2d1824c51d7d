package xdp

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// skip skips, except on machines that are meant to run live tests.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("FASTLB_REQUIRE_E2E") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func load(t *testing.T) *Programs {
	t.Helper()
	p, err := Load()
	if errors.Is(err, ErrPermission) {
		skip(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// testInterface is what Program.Run gives as the ingress interface: the namespace's loopback.
func testInterface(t *testing.T) Interface {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		skip(t, err.Error())
	}
	return Interface{Name: lo.Name, Index: lo.Index, MACs: [][6]byte{ownMAC}, Queues: 1}
}

// steering is a program with a full set of rules and, unless no socket is wanted, a socket in queue 0 of the interface
// that Program.Run says packets come from.
func steering(t *testing.T, socket bool) *Programs {
	t.Helper()
	p := load(t)
	ifc := testInterface(t)
	if err := p.setMACs(ifc, 7, map[[6]byte]bool{}, setOf(ifc.MACs)); err != nil {
		t.Fatal(err)
	}
	if socket {
		fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			skip(t, "AF_XDP socket: "+err.Error())
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.SetsockoptInt(fd, unix.SOL_XDP, unix.XDP_RX_RING, 64); err != nil {
			t.Fatal(err)
		}
		if err := p.objects.Xsks.Put(uint32(7), uint32(fd)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Update(testRules()); err != nil {
		t.Fatal(err)
	}
	return p
}

var steerTests = []struct {
	name   string
	packet []byte
	exit   Exit
}{
	// link layer
	{"foreign MAC", frameTo([6]byte{2, 0, 0, 0, 0, 2}, ip4(client, vip, tcp, ports(1025, 80))), PassNotHost},
	{"broadcast", frameTo([6]byte{255, 255, 255, 255, 255, 255}, ip4(client, vip, tcp, ports(1025, 80))), PassNotHost},
	{"ARP", eth(layer{0x0806, make([]byte, 28)}), PassNotIP},
	{"LLDP", eth(layer{0x88cc, make([]byte, 46)}), PassNotIP},
	{"one tag", eth(tag(100), ip4(client, vip, tcp, ports(1025, 80))), TakeService},
	{"two tags", eth(qinq(5), tag(100), ip6(client6, vip6, tcp, ports(1025, 80))), TakeService},
	{"three tags", eth(tag(1), tag(2), tag(3), ip4(client, vip, tcp, ports(1025, 80))), PassNotIP},
	{"tag cut short", eth(layer{0x8100, []byte{0, 1}}), PassRunt},
	{"tagged ARP", eth(tag(100), layer{0x0806, make([]byte, 28)}), PassNotIP},

	// IPv4 header
	{"IPv4 cut short", eth(layer{0x0800, ip4(client, vip, tcp, nil).bytes[:19]}), PassBadIP},
	{"IPv4 of version 5", eth(ip4(client, vip, tcp, ports(1, 80), func(h []byte) []byte { h[0] = 0x55; return h })), PassBadIP},
	{"IPv4 header of 16 bytes", eth(ip4(client, vip, tcp, ports(1, 80), func(h []byte) []byte { h[0] = 0x44; return h })), PassBadIP},
	{"options", eth(ip4(client, vip, tcp, ports(1025, 80), words(3))), TakeService},
	{"most options", eth(ip4(client, vip, tcp, ports(1025, 80), words(10))), TakeService},
	{"options cut short", eth(layer{0x0800, ip4(client, vip, tcp, nil, words(5)).bytes[:24]}), PassTransport},
	{"don't fragment", eth(ip4(client, vip, tcp, ports(1025, 80), dontFragment)), TakeService},

	// services
	{"TCP", eth(ip4(client, vip, tcp, ports(1025, 80))), TakeService},
	{"UDP", eth(ip4(client, vip, udp, ports(1025, 53))), TakeService},
	{"SCTP", eth(ip4(client, vip, sctp, ports(1025, 99))), TakeService},
	{"IPv6 TCP", eth(ip6(client6, vip6, tcp, ports(1025, 80))), TakeService},
	{"other port", eth(ip4(client, vip, tcp, ports(1025, 81))), PassNoRule},
	{"other protocol's port", eth(ip4(client, vip, udp, ports(1025, 80))), PassNoRule},
	{"other address", eth(ip4(client, own, tcp, ports(1025, 80))), PassNoRule},
	{"from the service", eth(ip4(vip, client, tcp, ports(80, 1025))), PassNoRule},
	{"any port", eth(ip4(client, "192.0.2.20", udp, ports(1, 40000))), TakeService},
	{"any port of another protocol", eth(ip4(client, "192.0.2.20", tcp, ports(1, 40000))), PassNoRule},
	{"FTP control", eth(ip4(client, "192.0.2.21", tcp, ports(1025, 21))), TakeService},
	{"FTP passive data", eth(ip4(client, "192.0.2.21", tcp, ports(1025, 1024))), TakeService},
	{"FTP active data", eth(ip4(client, "192.0.2.21", tcp, ports(1025, 20))), TakeService},
	{"privileged port beside FTP", eth(ip4(client, "192.0.2.21", tcp, ports(1025, 1023))), PassNoRule},
	{"UDP beside FTP", eth(ip4(client, "192.0.2.21", udp, ports(1025, 2000))), PassNoRule},
	{"ports cut short", eth(ip4(client, vip, tcp, []byte{4, 1, 0})), PassTransport},
	{"ESP", eth(ip4(client, vip, 50, ports(0, 0))), TakeIPsec},
	{"ESP of a NAT server", eth(ip4(server, client, 50, nil)), TakeIPsec},
	{"ESP into a mark's range", eth(ip4(client, "198.51.100.1", 50, nil)), TakeIPsec},
	{"ESP to the director", eth(ip4(client, own, 50, ports(0, 0))), PassProtocol},
	{"ESP to a NAT server", eth(ip4(client, server, 50, ports(0, 0))), PassProtocol},
	{"ESP from the service", eth(ip4(vip, client, 50, nil)), PassProtocol},
	{"ESP, IPv6", eth(ip6(client6, vip6, 50, nil)), TakeIPsec},
	{"AH", eth(ip4(client, vip, 51, nil)), TakeIPsec},
	{"fragment of ESP", eth(ip4(client, vip, 50, make([]byte, 8), frag(9, true))), TakeFragment},
	{"OSPF", eth(ip4(client, vip, 89, ports(0, 80))), PassProtocol},

	// servers
	{"from a NAT server", eth(ip4(server, client, tcp, ports(8080, 1025))), TakeServer},
	{"from a NAT server, IPv6", eth(ip6(server6, client6, tcp, ports(8080, 1025))), TakeServer},
	{"from a NAT server's other port", eth(ip4(server, client, tcp, ports(22, 1025))), PassNoRule},
	{"from a server for all ports", eth(ip4("10.0.0.12", client, sctp, ports(5, 6))), TakeServer},
	{"to a NAT server", eth(ip4(client, server, tcp, ports(1025, 8080))), PassNoRule},
	{"FTP control of a server", eth(ip4("10.0.0.21", client, tcp, ports(21, 1025))), TakeServer},
	{"FTP active data of a server", eth(ip4("10.0.0.21", client, tcp, ports(20, 1025))), TakeServer},
	{"FTP passive data of a server", eth(ip4("10.0.0.21", client, tcp, ports(1024, 1025))), TakeServer},
	{"FTP passive data of an IPv6 server", eth(ip6("fd00::21", client6, tcp, ports(50000, 1025))), TakeServer},
	{"FTP server's mail", eth(ip4("10.0.0.21", client, tcp, ports(25, 1025))), PassNoRule},
	{"UDP of an FTP server", eth(ip4("10.0.0.21", client, udp, ports(50000, 53))), PassNoRule},
	{"FTP on another port", eth(ip4("10.0.0.22", client, tcp, ports(521, 1025))), TakeServer},
	{"its active data", eth(ip4("10.0.0.22", client, tcp, ports(520, 1025))), TakeServer},
	{"its passive data", eth(ip4("10.0.0.22", client, tcp, ports(50000, 1025))), TakeServer},
	{"high port of a server without FTP", eth(ip4(server, client, tcp, ports(50000, 1025))), PassNoRule},
	{"error about FTP data", eth(ip4("10.9.9.9", client, 1, icmp(11, first8(ip4(client, "10.0.0.21", tcp, ports(1025, 50000)))))), TakeICMP},
	{"error about ESP to a client", eth(ip4(client, vip, 1, icmp(3, first8(ip4(vip, client, 50, make([]byte, 8)))))), TakeICMP},
	{"error about ESP to a server", eth(ip4(server, client, 1, icmp(3, first8(ip4(client, server, 50, make([]byte, 8)))))), TakeICMP},
	{"error about ESP to the service", eth(ip4("10.9.9.9", client, 1, icmp(11, first8(ip4(client, vip, 50, make([]byte, 8)))))), TakeICMP},
	{"error about somebody's ESP", eth(ip4(client, own, 1, icmp(3, first8(ip4(own, client, 50, make([]byte, 8)))))), PassICMPOther},

	// marks
	{"mark", eth(ip4(client, "198.51.100.1", tcp, ports(1, 443))), TakeMark},
	{"mark, other port", eth(ip4(client, "198.51.100.1", tcp, ports(1, 444))), PassNoRule},
	{"mark, other protocol", eth(ip4(client, "198.51.100.1", udp, ports(1, 443))), PassNoRule},
	{"inner range", eth(ip4(client, "198.51.100.65", udp, ports(1, 9))), TakeMark},
	{"outer range seen through the inner", eth(ip4(client, "198.51.100.65", tcp, ports(1, 80))), TakeMark},
	{"outermost range seen through both", eth(ip4(client, "198.51.100.65", sctp, ports(1, 7))), TakeMark},
	{"outermost range", eth(ip4(client, "198.51.7.7", sctp, ports(1, 7))), TakeMark},
	{"mark, IPv6", eth(ip6(client6, "2001:db8:5::5", udp, ports(1, 2))), TakeMark},

	// IPv6 extension headers
	{"IPv6 cut short", eth(layer{0x86dd, ip6(client6, vip6, tcp, nil).bytes[:39]}), PassBadIP},
	{"IPv6 of version 4", eth(layer{0x86dd, ip4(client, vip, tcp, make([]byte, 40)).bytes}), PassBadIP},
	{"hop-by-hop", eth(ip6(client6, vip6, tcp, ports(1, 80), hopByHop(0))), TakeService},
	{"three extensions", eth(ip6(client6, vip6, tcp, ports(1, 80), hopByHop(1), routing(2), destination(5))), TakeService},
	{"seven extensions", eth(ip6(client6, vip6, tcp, ports(1, 80), hopByHop(0), destination(0), destination(0), destination(0),
		destination(0), destination(0), destination(0))), TakeService},
	{"nine extensions", eth(ip6(client6, vip6, tcp, ports(1, 80), hopByHop(0), destination(0), destination(0), destination(0),
		destination(0), destination(0), destination(0), destination(0), destination(0))), PassExtensions},
	{"longest extension", eth(ip6(client6, vip6, tcp, ports(1, 80), destination(255))), TakeService},
	{"extension cut short", eth(layer{0x86dd, ip6(client6, vip6, tcp, nil, destination(0)).bytes[:47]}), PassBadIP},
	{"extension longer than the packet", eth(ip6(client6, vip6, tcp, ports(1, 80), extension{60, []byte{0, 200, 0, 0, 0, 0, 0, 0}})), PassTransport},
	{"AH", eth(ip6(client6, vip6, tcp, ports(1, 80), plain(51, 1))), TakeIPsec},
	{"no next header", eth(ip6(client6, vip6, 59, nil)), PassProtocol},

	// fragments
	{"first fragment", eth(ip4(client, vip, udp, ports(1, 53), frag(0, true))), TakeFragment},
	{"middle fragment", eth(ip4(client, vip, udp, make([]byte, 8), frag(100, true))), TakeFragment},
	{"last fragment", eth(ip4(client, vip, udp, make([]byte, 8), frag(200, false))), TakeFragment},
	{"fragment of any protocol", eth(ip4(client, vip, 1, make([]byte, 8), frag(200, false))), TakeFragment},
	{"fragment from a NAT server", eth(ip4(server, client, udp, make([]byte, 8), frag(200, false))), TakeFragment},
	{"fragment to a NAT server", eth(ip4(client, server, udp, make([]byte, 8), frag(200, false))), PassFragment},
	{"fragment to the director", eth(ip4(client, own, udp, make([]byte, 8), frag(200, false))), PassFragment},
	{"fragment to a mark's range", eth(ip4(client, "198.51.100.1", udp, make([]byte, 8), frag(1, false))), TakeFragment},
	{"IPv6 first fragment", eth(ip6(client6, vip6, udp, ports(1, 9), frag6(0, true))), TakeFragment},
	{"IPv6 last fragment", eth(ip6(client6, vip6, udp, make([]byte, 8), hopByHop(0), frag6(100, false))), TakeFragment},
	{"IPv6 fragment from a NAT server", eth(ip6(server6, client6, tcp, make([]byte, 8), frag6(100, true))), TakeFragment},
	{"IPv6 fragment of a stranger", eth(ip6(client6, own6, tcp, make([]byte, 8), frag6(100, true))), PassFragment},
	{"IPv6 atomic fragment", eth(ip6(client6, vip6, tcp, ports(1, 80), frag6(0, false))), TakeService},
	{"IPv6 atomic fragment of nobody", eth(ip6(client6, vip6, tcp, ports(1, 81), frag6(0, false))), PassNoRule},
	{"IPv6 fragment header cut short", eth(layer{0x86dd, ip6(client6, vip6, tcp, nil, frag6(0, true)).bytes[:44]}), PassBadIP},

	// ICMP
	{"ping to the VIP", eth(ip4(client, vip, 1, icmp(8, layer{}))), PassICMP},
	{"echo reply", eth(ip4(client, vip, 1, icmp(0, layer{}))), PassICMP},
	{"redirect", eth(ip4(client, vip, 1, icmp(5, ip4(vip, client, tcp, ports(80, 1))))), PassICMP},
	{"ICMP cut short", eth(ip4(client, vip, 1, []byte{3, 0, 0})), PassTransport},
	{"neighbour solicitation", eth(ip6(client6, vip6, 58, icmp(135, layer{}))), PassICMP},
	{"ICMP in IPv6", eth(ip6(client6, vip6, 1, icmp(3, layer{}))), PassProtocol},
	{"ICMPv6 in IPv4", eth(ip4(client, vip, 58, icmp(1, layer{}))), PassProtocol},
	{"unreachable about a reply", eth(ip4(client, vip, 1, icmp(3, first8(ip4(vip, client, tcp, ports(80, 1025)))))), TakeICMP},
	{"source quench", eth(ip4(client, vip, 1, icmp(4, first8(ip4(vip, client, tcp, ports(80, 1025)))))), TakeICMP},
	{"time exceeded about a request", eth(ip4("10.9.9.9", client, 1, icmp(11, first8(ip4(client, vip, udp, ports(1025, 53)))))), TakeICMP},
	{"frag needed about a translated request", eth(ip4(server, client, 1, icmp(3, first8(ip4(client, server, tcp, ports(1025, 8080)))))), TakeICMP},
	{"error about a mark's range", eth(ip4(client, "198.51.100.1", 1, icmp(3, first8(ip4("198.51.100.1", client, tcp, ports(80, 1025)))))), TakeICMP},
	{"embedded options", eth(ip4(client, vip, 1, icmp(3, first8(ip4(vip, client, tcp, ports(80, 1025), words(4)))))), TakeICMP},
	{"embedded first fragment", eth(ip4(client, vip, 1, icmp(3, ip4(vip, client, udp, ports(53, 1025), frag(0, true))))), TakeICMP},
	{"embedded later fragment", eth(ip4(client, vip, 1, icmp(3, ip4(vip, client, udp, ports(53, 1025), frag(9, true))))), PassICMPOther},
	{"embedded ping", eth(ip4(client, vip, 1, icmp(3, ip4(vip, client, 1, icmp(0, layer{}))))), PassICMPOther},
	{"embedded stranger", eth(ip4(client, own, 1, icmp(3, first8(ip4(own, client, tcp, ports(22, 1025)))))), PassICMPOther},
	{"embedded header cut short", eth(ip4(client, vip, 1, icmp(3, layer{0, ip4(vip, client, tcp, nil).bytes[:12]}))), PassICMPOther},
	{"embedded ports cut short", eth(ip4(client, vip, 1, icmp(3, ip4(vip, client, tcp, []byte{0, 80})))), PassICMPOther},
	{"packet too big about a reply", eth(ip6(client6, vip6, 58, icmp(2, ip6(vip6, client6, tcp, ports(80, 1025))))), TakeICMP},
	{"ICMPv6 about a translated request", eth(ip6(server6, client6, 58, icmp(1, ip6(client6, server6, tcp, ports(1025, 8080))))), TakeICMP},
	{"ICMPv6, embedded extensions", eth(ip6(client6, vip6, 58, icmp(2, ip6(vip6, client6, tcp, ports(80, 1025), destination(1), frag6(0, true))))), TakeICMP},
	{"ICMPv6, outer extension", eth(ip6(client6, vip6, 58, icmp(2, ip6(vip6, client6, tcp, ports(80, 1025))), hopByHop(0))), TakeICMP},
	{"fragmented ICMP error", eth(ip4(client, vip, 1, icmp(3, first8(ip4(vip, client, tcp, ports(80, 1)))), frag(0, true))), TakeFragment},

	// tunnels
	{"error about an IPIP tunnel", eth(ip4("10.0.0.254", own, 1, icmp(3, ip4(own, "10.0.0.31", 4, make([]byte, 28))))), TakeTunnel},
	{"error about IPv6 in IPv4", eth(ip4("10.0.0.254", own, 1, icmp(3, ip4(own, "10.0.0.31", 41, make([]byte, 28))))), TakeTunnel},
	{"error about GRE", eth(ip4("10.0.0.254", own, 1, icmp(11, ip4(own, "10.0.0.32", 47, make([]byte, 28))))), TakeTunnel},
	{"error about GUE", eth(ip4("10.0.0.254", own, 1, icmp(3, ip4(own, "10.0.0.33", udp, ports(4000, 5555))))), TakeTunnel},
	{"GUE to another port", eth(ip4("10.0.0.254", own, 1, icmp(3, ip4(own, "10.0.0.33", udp, ports(4000, 5556))))), PassICMPOther},
	{"another kind of tunnel", eth(ip4("10.0.0.254", own, 1, icmp(3, ip4(own, "10.0.0.31", 47, make([]byte, 28))))), PassICMPOther},
	{"somebody else's tunnel", eth(ip4("10.0.0.254", own, 1, icmp(3, ip4(own, "10.0.0.99", 4, make([]byte, 28))))), PassICMPOther},
	{"error about an IPv6 tunnel", eth(ip6("fd00::fe", own6, 58, icmp(2, ip6(own6, "fd00::31", 41, make([]byte, 48))))), TakeTunnel},
}

func TestSteer(t *testing.T) {
	p := steering(t, true)
	for _, c := range steerTests {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			want := uint32(xdpPass)
			if c.exit.Taken() {
				want = xdpRedirect
			}
			checkExit(t, p, c.packet, want, c.exit)
		})
	}
}

// enum xdp_action of linux/bpf.h.
const xdpDrop, xdpPass, xdpRedirect = 1, 2, 4

// checkExit runs a packet and checks verdict, that the packet is unchanged, and that exactly the one counter moved by one.
func checkExit(t *testing.T, p *Programs, packet []byte, verdict uint32, exit Exit) {
	t.Helper()
	before, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	run := ebpf.RunOptions{Data: packet, DataOut: make([]byte, len(packet)+512)}
	got, err := p.objects.FastlbSteer.Run(&run)
	if err != nil {
		t.Fatal(err)
	}
	if got != verdict {
		t.Errorf("verdict %d, want %d", got, verdict)
	}
	if !bytes.Equal(run.DataOut, packet) {
		t.Errorf("the packet was changed")
	}
	after, err := p.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for e := range Exits {
		var want uint64
		if e == exit {
			want = 1
		}
		if n := after[e] - before[e]; n != want {
			t.Errorf("counter %v moved by %d, want %d", e, n, want)
		}
	}
}

// Without a socket what would be taken is dropped, whatever the kernel would make of it; the rest passes as ever.
func TestSteerWithoutSocket(t *testing.T) {
	p := steering(t, false)
	checkExit(t, p, eth(ip4(client, vip, tcp, ports(1025, 80))), xdpDrop, DropNoSocket)
	checkExit(t, p, eth(ip4(client, vip, tcp, ports(1025, 81))), xdpPass, PassNoRule)
}

// No rules: nothing is taken.
func TestSteerWithoutRules(t *testing.T) {
	p := steering(t, true)
	if _, err := p.Update(&Rules{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range steerTests {
		got, err := p.objects.FastlbSteer.Run(&ebpf.RunOptions{Data: c.packet})
		if err != nil || got != xdpPass {
			t.Errorf("%s: verdict %d, %v", c.name, got, err)
		}
	}
}

// The names of steer.c's exits, as the object's BTF has them, are those of Go.
func TestCountersMatchC(t *testing.T) {
	spec, err := loadSteer()
	if err != nil {
		t.Fatal(err)
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName("steer_exit", &enum); err != nil {
		t.Fatal(err)
	}
	if len(enum.Values) != int(Exits)+1 {
		t.Errorf("C has %d exits, Go has %d", len(enum.Values)-1, Exits)
	}
	for _, v := range enum.Values {
		name := strings.ToLower(strings.TrimPrefix(v.Name, "EXIT_"))
		if name == "count" {
			continue
		}
		if got := Exit(v.Value).String(); got != name {
			t.Errorf("exit %d is %q in C and %q in Go", v.Value, name, got)
		}
	}
	if n := spec.Maps["counters"].MaxEntries; n != uint32(Exits) {
		t.Errorf("map of %d counters for %d exits", n, Exits)
	}
}

// The verifier gives up at a million instructions, and kernels differ in how many they look at: keep far away.
func TestVerifierBudget(t *testing.T) {
	info, err := load(t).objects.FastlbSteer.Info()
	if err != nil {
		t.Fatal(err)
	}
	n, known := info.VerifiedInstructions() // since Linux 5.16
	if known && n > 300_000 {
		t.Errorf("the verifier looked at %d instructions", n)
	}
	t.Logf("%d instructions verified", n)
}

// Every exit but those that Program.Run cannot produce has a packet in the table.
func TestEveryExitHasAPacket(t *testing.T) {
	seen := map[Exit]bool{DropNoSocket: true} // TestSteerWithoutSocket
	for _, c := range steerTests {
		seen[c.exit] = true
	}
	for e := range Exits {
		if !seen[e] {
			t.Errorf("no packet leaves by %v", e)
		}
	}
}

func BenchmarkSteer(b *testing.B) {
	for _, c := range []struct {
		name   string
		packet []byte
	}{
		{"pass-not-host", frameTo([6]byte{2, 0, 0, 0, 0, 2}, ip4(client, vip, tcp, ports(1025, 80)))},
		{"pass-no-rule", eth(ip4(client, own, tcp, ports(1025, 22)))},
		{"take-service", eth(ip4(client, vip, tcp, ports(1025, 80)))},
		{"take-service-ipv6", eth(ip6(client6, vip6, tcp, ports(1025, 80)))},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, err := Load()
			if err != nil {
				b.Skip(err)
			}
			defer p.Close()
			lo, err := net.InterfaceByName("lo")
			if err != nil {
				b.Skip(err)
			}
			ifc := Interface{Name: "lo", Index: lo.Index, Queues: 1}
			if err := p.setMACs(ifc, 0, map[[6]byte]bool{}, setOf([][6]byte{ownMAC})); err != nil {
				b.Fatal(err)
			}
			if _, err := p.Update(testRules()); err != nil {
				b.Fatal(err)
			}
			const repeat = 200_000
			for b.Loop() {
				_, d, err := p.objects.FastlbSteer.Benchmark(c.packet, repeat, nil)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(d.Nanoseconds()), "ns/packet")
			}
		})
	}
}
