package replay_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/scenario/frame"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/replay"
	"github.com/fastlb/fastlb/service"
)

// The recorder's site: clients behind c1, servers on r0's network, the virtual addresses on the director.
var (
	macC0, macC1 = mustMAC("02:00:00:00:0c:00"), mustMAC("02:00:00:00:0c:01")
	macR0, macR1 = mustMAC("02:00:00:00:0d:00"), mustMAC("02:00:00:00:0d:01")
)

func mustMAC(s string) [6]byte {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return [6]byte(m)
}

func prefixes(s string) (out []netip.Prefix) {
	for _, x := range strings.Fields(s) {
		out = append(out, netip.MustParsePrefix(x))
	}
	return out
}

func recorderSite() neigh.StaticConfig {
	cfg := neigh.StaticConfig{
		Interfaces: []neigh.StaticInterface{
			{Name: "c0", MAC: macC0, Addresses: prefixes("10.8.0.1/24 fd00:8::1/64 10.9.0.1/32 10.9.0.2/32 fd00:9::1/128 fd00:9::2/128")},
			{Name: "r0", MAC: macR0, Addresses: prefixes("10.2.0.254/24 fd00:2::fe/64")},
			{Name: "s0", MAC: mustMAC("02:00:00:00:0e:00"), Addresses: prefixes("10.3.0.1/24")},
		},
		Neighbors: map[netip.Addr][6]byte{netip.MustParseAddr("10.8.0.2"): macC1, netip.MustParseAddr("fd00:8::2"): macC1},
		Routes: []neigh.StaticRoute{
			{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.8.0.2")},
			{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00:8::2")},
		},
	}
	for i := 11; i <= 18; i++ {
		m := mustMAC(fmt.Sprintf("02:00:00:00:02:%d", i))
		cfg.Neighbors[netip.MustParseAddr(fmt.Sprintf("10.2.0.%d", i))] = m
		cfg.Neighbors[netip.MustParseAddr(fmt.Sprintf("fd00:2::%d", i))] = m
	}
	return cfg
}

// player plays one recording.
type player struct {
	t      *testing.T
	e      *replay.Engine
	kernel kernel
	out    []wire // what was sent in this step
	flows  map[string]*conversation
	marks  []service.Mark
	faults []string
	step   *step
	number int
	last   map[string][]byte
	random bool // the scheduler draws lots: only whether there is a server can be compared
}

// conversation is a named connection of a recording.
type conversation struct {
	proto    string
	c, v, rs netip.AddrPort
	nat      bool
}

// playback runs a recording through an engine of so many workers and returns what differs.
func playback(t *testing.T, rec *recording, workers int) []string {
	p := &player{t: t, flows: map[string]*conversation{}, last: map[string][]byte{}, random: strings.HasPrefix(rec.Case, "twos/")}
	site := recorderSite()
	for _, s := range rec.Steps {
		if w := strings.Fields(s.Op); len(w) > 4 && strings.HasPrefix(s.Op, "ip route add local ") {
			site.Routes = append(site.Routes, neigh.StaticRoute{To: netip.MustParsePrefix(w[4]), Kind: neigh.LocalAddr})
		}
	}
	p.kernel.send = p.sent
	var err error
	p.e, err = replay.New(replay.Options{
		Network: site, Capacity: 4096, Servers: 256, Workers: workers,
		Sent:   func(f replay.Frame) { p.sent(f.Interface, f.Data) },
		Passed: func(pk replay.Passed) { p.kernel.handle(pk.Packet) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rec.Steps {
		p.number, p.step = i+1, &rec.Steps[i]
		p.out = nil
		p.do()
		if len(p.faults) >= 5 {
			p.faults = append(p.faults, "  … the rest of the case was left out\n")
			break
		}
	}
	return p.faults
}

// sent takes a frame that left the director, or that its kernel sent.
func (p *player) sent(iface string, f []byte) {
	side := strings.TrimSuffix(iface, "0")
	p.out = append(p.out, wire{If: side, Txt: frame.Describe(f), Hex: hex.EncodeToString(f)})
	p.last[side] = slices.Clone(f[14:])
}

// fault notes a difference in the current step.
func (p *player) fault(what, want, got string) {
	indent := func(s string) string {
		if s == "" {
			return "      (nothing)\n"
		}
		return "      " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n      ") + "\n"
	}
	p.faults = append(p.faults, fmt.Sprintf("  step %d at %d ms: %s: %s\n    want\n%s    got\n%s", p.number, p.step.Ms, p.step.Op, what, indent(want), indent(got)))
}

func (p *player) do() {
	s := p.step
	at := clock.Time(s.Ms) * clock.Millisecond
	w, err := replay.Words(s.Op)
	if err != nil {
		p.t.Fatal(err)
	}
	p.e.Advance(at)
	switch w[0] {
	case "in":
		for _, x := range s.In {
			b, _ := hex.DecodeString(x.Hex)
			p.e.Receive(x.If+"0", at, b)
		}
		p.compareFrames(s.Out)
	case "pkt":
		f := p.flows[w[1]]
		src, dst := f.c, f.v
		if w[2] == "r" {
			if src, dst = f.rs, f.c; !f.nat {
				src = f.v
			}
		}
		p.shot(w[2], strings.Join(append([]string{f.proto, src.String(), ">", dst.String()}, w[3:]...), " "))
		p.compareTexts()
	case "syn", "open", "udp":
		p.open(w)
	case "fin":
		f := p.flows[w[1]]
		p.shot("c", fmt.Sprintf("tcp %s > %s FA seq=1001 ack=5001", f.c, f.v))
		if f.nat {
			p.shot("r", fmt.Sprintf("tcp %s > %s FA seq=5001 ack=1002", f.rs, f.c))
		}
		p.shot("c", fmt.Sprintf("tcp %s > %s A seq=1002 ack=5002", f.c, f.v))
	case "rst":
		f := p.flows[w[1]]
		p.shot("c", fmt.Sprintf("tcp %s > %s R seq=1001", f.c, f.v))
	case "wait":
		p.compareFrames(s.Out)
	case "dump":
		if p.random {
			return
		}
		p.compareConnections()
		out, _, _ := p.ipvsadm(at, "-L", "-n")
		p.compareListing("ipvsadm -Ln", s.Stdout, out)
	case "stats":
		p.stats(at + 4500*clock.Millisecond)
	case "ipvsadm":
		out, errs, status := p.ipvsadm(at, w[1:]...)
		switch {
		case p.random && slices.Contains(w, "-L"):
		case slices.Contains(w, "-c"):
			p.compareSets(connectionLines(s.Stdout), connectionLines(out))
		default:
			p.compareListing("stdout", s.Stdout, out)
		}
		p.compareListing("stderr", s.Stderr, errs)
		if status != s.Status {
			p.fault("status", fmt.Sprint(s.Status), fmt.Sprint(status))
		}
	default:
		p.system(w, at)
	}
}

func (p *player) check(err error) {
	if err != nil {
		p.t.Fatal(err)
	}
}

// system is a command of the recorder that is not ipvsadm's.
func (p *player) system(w []string, at clock.Time) {
	switch {
	case w[0] == "sysctl" && len(w) == 3 && w[1] == "-w":
		name, value, _ := strings.Cut(w[2], "=")
		err := p.e.Apply(control.Op{Kind: control.SetTunable, Name: strings.TrimPrefix(name, "net.ipv4.vs."), Value: value})
		if (err == nil) != (p.step.Status == 0) {
			p.fault("tunable", fmt.Sprint("status ", p.step.Status), fmt.Sprint(err))
		}
	case strings.HasPrefix(p.step.Op, "ip link set ") && w[4] == "mtu":
		n, _ := strconv.Atoi(w[5])
		p.check(p.e.SetMTU(w[3], uint32(n)))
	case strings.HasPrefix(p.step.Op, "ip route add local "): // in the site from the start
	case strings.HasPrefix(p.step.Op, "ip rule add fwmark "), strings.HasPrefix(p.step.Op, "ip route add table "): // marks need no help
	case strings.HasPrefix(p.step.Op, "iptables -t mangle -A PREROUTING "):
		var m service.Mark
		for i := 0; i+1 < len(w); i++ {
			switch w[i] {
			case "-d":
				m.Destination = netip.MustParsePrefix(map[bool]string{false: w[i+1] + "/32", true: w[i+1]}[strings.Contains(w[i+1], "/")])
			case "-p":
				m.Protocol = map[string]uint8{"tcp": service.TCP, "udp": service.UDP}[w[i+1]]
			case "--dports":
				for _, x := range strings.Split(w[i+1], ",") {
					n, _ := strconv.Atoi(x)
					m.Ports = append(m.Ports, uint16(n))
				}
			case "--set-mark":
				n, _ := strconv.Atoi(w[i+1])
				m.Mark = uint32(n)
			}
		}
		p.marks = append(p.marks, m)
		if err := p.e.Apply(control.Op{Kind: control.SetMarks, Marks: p.marks}); err != nil {
			p.fault("marks", "no error", err.Error())
		}
	default:
		p.fault("no such thing here", p.step.Stdout, "")
	}
}

// shot puts one packet in, now.
func (p *player) shot(side, line string) {
	s, err := frame.Parse(strings.Fields(line))
	p.check(err)
	packets, err := s.Packets(p.last)
	p.check(err)
	dst, src := macC0, macC1
	if side == "r" {
		dst, src = macR0, macR1
	}
	for _, ip := range packets {
		p.e.Receive(side+"0", clock.Time(p.step.Ms)*clock.Millisecond, frame.Ethernet(dst, src, ip))
	}
}

// open is syn, open or udp NAME CLIENT VIP.
func (p *player) open(w []string) {
	f := &conversation{proto: "tcp"}
	var err error
	f.c, err = frame.Address(w[2])
	p.check(err)
	f.v, err = frame.Address(w[3])
	p.check(err)
	if w[0] == "udp" {
		f.proto = "udp"
		p.shot("c", fmt.Sprintf("udp %s > %s len=8", f.c, f.v))
	} else {
		p.shot("c", fmt.Sprintf("tcp %s > %s S seq=1000", f.c, f.v))
	}
	rs := f.server(p.out)
	if rs != *p.step.RS && (!p.random || (rs == "") != (*p.step.RS == "")) {
		p.fault("another server", *p.step.RS, rs)
	}
	if *p.step.RS == "" {
		p.compareFrames(p.step.Out)
	}
	p.flows[w[1]] = f
	if w[0] == "open" && rs != "" {
		if f.nat {
			p.shot("r", fmt.Sprintf("tcp %s > %s SA seq=5000 ack=1001", f.rs, f.c))
		}
		p.shot("c", fmt.Sprintf("tcp %s > %s A seq=1001 ack=5001", f.c, f.v))
	}
}

// server tells which server a packet that was sent goes to, in the recorder's words.
func (f *conversation) server(out []wire) string {
	for _, o := range out {
		if o.If != "r" {
			continue
		}
		b, _ := hex.DecodeString(o.Hex)
		ip := b[14:]
		var dst netip.Addr
		var proto, hl int
		if ip[0]>>4 == 4 {
			dst, _ = netip.AddrFromSlice(ip[16:20])
			proto, hl = int(ip[9]), int(ip[0]&15)*4
		} else {
			dst, _ = netip.AddrFromSlice(ip[24:40])
			proto, hl = int(ip[6]), 40
		}
		switch {
		case dst == f.v.Addr():
			return fmt.Sprintf("dr:%x", b[5])
		case proto == 4 || proto == 41 || proto == 47 || proto == 17 && f.proto != "udp":
			return "tun:" + dst.String()
		}
		f.nat = true
		f.rs = netip.AddrPortFrom(dst, uint16(ip[hl+2])<<8|uint16(ip[hl+3]))
		return f.rs.String()
	}
	return ""
}

func (p *player) ipvsadm(at clock.Time, args ...string) (stdout, stderr string, status int) {
	p.e.Advance(at)
	var o, e bytes.Buffer
	status = p.e.Ipvsadm(args, &o, &e)
	return o.String(), e.String(), status
}

// stats are the listings that the recorder prints some seconds later.
func (p *player) stats(at clock.Time) {
	var got string
	for _, a := range []string{"--stats --exact", "--thresholds", "--persistent-conn"} {
		out, errs, _ := p.ipvsadm(at, append([]string{"-L", "-n"}, strings.Fields(a)...)...)
		got += out + errs
	}
	want, _, _ := strings.Cut(p.step.Stdout, "   Total Incoming Outgoing") // the rest is /proc/net/ip_vs_stats
	p.compareListing("listings", want, got)
}

var size = regexp.MustCompile(`\(size=\d+\)`)

// compareListing compares what ipvsadm printed; the table's size is a setting.
func (p *player) compareListing(what, want, got string) {
	want, got = size.ReplaceAllString(want, "(size=N)"), size.ReplaceAllString(got, "(size=N)")
	if want != got {
		p.fault(what, want, got)
	}
}

// compareConnections compares the table.
func (p *player) compareConnections() {
	out, _, _ := p.ipvsadm(clock.Time(p.step.Ms)*clock.Millisecond, "-L", "-n", "-c")
	p.compareSets(p.step.Conns, connectionLines(out))
}

// connectionLines are the lines of ipvsadm -Lnc below its header.
func connectionLines(out string) []string {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	return lines[min(2, len(lines)):]
}

// compareSets compares connections in any order; what is left of a timeout may differ by a second.
func (p *player) compareSets(want, got []string) {
	left := slices.Clone(want)
	var extra []string
	for _, g := range got {
		if i := slices.IndexFunc(left, func(w string) bool { return sameConnection(w, g) }); i >= 0 {
			left = slices.Delete(left, i, i+1)
			continue
		}
		extra = append(extra, g)
	}
	if len(left)+len(extra) > 0 {
		p.fault("connections", strings.Join(left, "\n"), strings.Join(extra, "\n"))
	}
}

func sameConnection(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	if len(x) != len(y) || len(x) < 6 {
		return false
	}
	d := expires(x[1]) - expires(y[1])
	x[1], y[1] = "", ""
	return slices.Equal(x, y) && d >= -1 && d <= 1
}

// expires reads MM:SS.
func expires(s string) int {
	m, sec, _ := strings.Cut(s, ":")
	a, _ := strconv.Atoi(m)
	b, _ := strconv.Atoi(sec)
	return a*60 + b
}
