package twin

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/neigh"
)

// The recordings of testdata are of the kernel's IPVS (7.3). The site, as their README has it: the clients' router behind
// c0, servers 10.2.0.11 … 18 behind r0.
var (
	macC0 = [6]byte{2, 0, 0, 0, 0x0c, 0}
	macC1 = [6]byte{2, 0, 0, 0, 0x0c, 1}
	macR0 = [6]byte{2, 0, 0, 0, 0x0d, 0}
)

func goldenSite() Config {
	c := Config{
		Interfaces: []neigh.Interface{
			{Name: "c0", Parent: 0, MAC: macC0, MTU: 1500, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("10.8.0.1/24"), netip.MustParsePrefix("fd00:8::1/64")}},
			{Name: "r0", Parent: 1, MAC: macR0, MTU: 1500, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.0.254/24"), netip.MustParsePrefix("fd00:2::fe/64")}},
		},
		Neighbors: map[netip.Addr][6]byte{netip.MustParseAddr("10.8.0.2"): macC1, netip.MustParseAddr("fd00:8::2"): macC1},
		Routes: []Route{
			{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.8.0.2")},
			{netip.MustParsePrefix("::/0"), netip.MustParseAddr("fd00:8::2")},
		},
	}
	for i := 11; i <= 18; i++ {
		m := [6]byte{2, 0, 0, 0, 2, byte(i/10*16 + i%10)}
		c.Neighbors[netip.MustParseAddr(fmt.Sprintf("10.2.0.%d", i))] = m
		c.Neighbors[netip.MustParseAddr(fmt.Sprintf("fd00:2::%d", i))] = m
	}
	return c
}

type goldenFrame struct{ If, Txt, Hex string }

type goldenStep struct {
	Op     string
	Ms     int64
	In     []goldenFrame
	Out    []goldenFrame
	RS     *string
	Stdout string
	Status int
	Conns  []string
}

type goldenCase struct {
	Case  string
	Steps []goldenStep
}

func readGolden(t *testing.T, file string) (l []goldenCase) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<24)
	for s.Scan() {
		var c goldenCase
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		l = append(l, c)
	}
	return l
}

// TestRecordings plays the recorded cases to the twin.
func TestRecordings(t *testing.T) {
	for _, file := range []string{"flow", "sched", "fragments"} {
		for _, c := range readGolden(t, "testdata/"+file+".jsonl") {
			t.Run(file+"/"+c.Case, func(t *testing.T) { playGolden(t, c) })
		}
	}
}

// goldenFlow is a connection that a recording names.
type goldenFlow struct {
	proto   string
	c, v, s netip.AddrPort // s: where its server answers from
	nat     bool
}

func playGolden(t *testing.T, c goldenCase) {
	tw := New(goldenSite())
	flows := map[string]*goldenFlow{}
	for i, s := range c.Steps {
		now := s.Ms * 1e6
		w := strings.Fields(s.Op)
		at := fmt.Sprintf("step %d, %s", i, s.Op)
		one := func(side string, g *goldenFlow, flags string, seq, ack int) Outcome {
			return tw.Receive(now, map[string]int{"c": 0, "r": 1}[side], goldenPacket(side, g, flags, seq, ack))
		}
		switch w[0] {
		case "in":
			var sent []Sent
			passed := false
			for _, f := range s.In {
				b, err := hex.DecodeString(f.Hex)
				if err != nil {
					t.Fatal(err)
				}
				o := tw.Receive(now, map[string]int{"c": 0, "r": 1}[f.If], b)
				sent = append(sent, o.Sent...)
				passed = passed || o.Verdict == Pass
			}
			if passed { // what the kernel then did is not the director's
				continue
			}
			compareSent(t, at, s.Out, sent)
		case "pkt":
			g := flows[w[1]]
			seq := 1000
			if len(w) > 4 && strings.HasPrefix(w[4], "seq=") {
				seq, _ = strconv.Atoi(w[4][4:])
			}
			o := one(w[2], g, w[3], seq, 0)
			if o.Verdict == Pass {
				continue
			}
			if len(o.Sent) != len(s.Out) {
				t.Errorf("%s: sent %d frames (%s %v), recorded %d", at, len(o.Sent), o.Verdict, o.Reason, len(s.Out))
				continue
			}
			for k, f := range o.Sent {
				if want, got := strings.SplitN(s.Out[k].Txt, " ", 2)[0], fmt.Sprintf("%x>%x", f.Frame[6:12], f.Frame[:6]); got != want {
					t.Errorf("%s: sent %s, recorded %s", at, got, want)
				}
			}
		case "syn", "open", "udp":
			g := &goldenFlow{proto: "tcp", c: netip.MustParseAddrPort(w[2]), v: netip.MustParseAddrPort(w[3])}
			if w[0] == "udp" {
				g.proto = "udp"
			}
			o := one("c", g, "S", 1000, 0)
			if rs := g.chosen(o); rs != *s.RS {
				t.Errorf("%s: server %q, recorded %q", at, rs, *s.RS)
			}
			flows[w[1]] = g
			if w[0] == "open" && *s.RS != "" {
				if g.nat {
					one("r", g, "SA", 5000, 1001)
				}
				one("c", g, "A", 1001, 5001)
			}
			if *s.RS == "" && o.Verdict != Pass {
				compareSent(t, at, s.Out, o.Sent)
			}
		case "fin":
			g := flows[w[1]]
			one("c", g, "FA", 1001, 5001)
			if g.nat {
				one("r", g, "FA", 5001, 1002)
			}
			one("c", g, "A", 1002, 5002)
		case "rst":
			one("c", flows[w[1]], "R", 1001, 0)
		case "dump":
			tw.Advance(now)
			compareConns(t, at, s.Conns, tw, now)
			compareCounts(t, at, s.Stdout, tw)
		case "stats":
			compareStats(t, at, s.Stdout, tw)
		case "wait":
		case "ipvsadm":
			if strings.HasPrefix(w[1], "-L") {
				continue
			}
			if err := tw.Command(now, s.Op); (err != nil) != (s.Status != 0) {
				t.Errorf("%s: %v, recorded status %d", at, err, s.Status)
			}
		case "sysctl":
			name, value, _ := strings.Cut(strings.TrimPrefix(w[2], "net.ipv4.vs."), "=")
			if err := tw.Command(now, "tunable "+name+" "+value); err != nil {
				t.Fatalf("%s: %v", at, err)
			}
		case "ip":
			if err := tw.Command(now, "interface "+w[3]+" mtu "+w[5]); err != nil {
				t.Fatalf("%s: %v", at, err)
			}
		default:
			t.Fatalf("%s: not understood", at)
		}
		if p := tw.Problems(); p != nil {
			t.Fatalf("%s: %v", at, p)
		}
	}
}

// chosen tells, as the recordings do, which server a connection's first packet went to, and remembers how it is reached.
func (g *goldenFlow) chosen(o Outcome) string {
	if o.Verdict != Forward || o.Sent[0].Interface != 1 {
		return ""
	}
	f := o.Sent[0].Frame
	p, _ := decode(f[14:])
	g.s = g.v
	switch {
	case p.dst == g.v.Addr():
		return fmt.Sprintf("dr:%x", f[5])
	case p.proto == protoIPIP || p.proto == protoIPv6:
		return "tun:" + p.dst.String()
	}
	_, port, _ := p.ports()
	g.nat, g.s = true, netip.AddrPortFrom(p.dst, port)
	return g.s.String()
}

// goldenPacket builds a packet of a named connection; c: from the client, r: from the server.
func goldenPacket(side string, g *goldenFlow, flags string, seq, ack int) []byte {
	src, dst, mac := g.c, g.v, macC0
	if side == "r" {
		src, dst, mac = g.s, g.c, macR0
	}
	bits := 0
	for _, f := range flags {
		bits |= 1 << strings.IndexRune("FSRPAU", f)
	}
	if g.proto == "udp" {
		return build(frameSpec{to: mac, src: src, dst: dst, proto: protoUDP, size: 8, id: 0x1234})
	}
	return build(frameSpec{to: mac, src: src, dst: dst, proto: protoTCP, flags: bits, seq: uint32(seq), ack: uint32(ack), id: 0x1234})
}

// compareSent compares frames byte by byte, but for the identification of IPv4 headers that the director made.
func compareSent(t *testing.T, at string, want []goldenFrame, sent []Sent) {
	t.Helper()
	if len(want) != len(sent) {
		t.Errorf("%s: sent %d frames, recorded %d", at, len(sent), len(want))
		return
	}
	for i, s := range sent {
		b, _ := hex.DecodeString(want[i].Hex)
		if want[i].Hex == "" {
			continue
		}
		name := map[int]string{0: "c", 1: "r"}[s.Interface]
		got := s.Frame
		if s.Made || len(got) > 54 && got[12] == 0x86 && got[20] == 44 { // the kernel draws new IPv6 fragment identifications
			b, got = maskID(b), maskID(got)
		}
		if name != want[i].If || !bytes.Equal(b, got) {
			t.Errorf("%s: frame %d\n sent     %s %x\n recorded %s %x (%s)", at, i, name, got, want[i].If, b, want[i].Txt)
		}
	}
}

// maskID clears what is arbitrary in an outermost header that the director made: the identification and the IPv6 flow
// label. VLAN tags are looked through.
func maskID(frame []byte) []byte {
	b := append([]byte(nil), frame...)
	l3 := 14
	for len(b) > l3+4 && be.Uint16(b[l3-2:]) == 0x8100 {
		l3 += 4
	}
	ip := b[l3:]
	switch {
	case len(ip) >= 20 && ip[0]>>4 == 4:
		ip[4], ip[5], ip[10], ip[11] = 0, 0, 0, 0
	case len(ip) >= 40 && ip[0]>>4 == 6:
		ip[1], ip[2], ip[3] = ip[1]&0xf0, 0, 0 // the kernel's flow label is a hash with a random key
		if len(ip) >= 48 && ip[6] == 44 {
			copy(ip[44:48], make([]byte, 4))
		}
	}
	return b
}

func compareConns(t *testing.T, at string, want []string, tw *Twin, now int64) {
	t.Helper()
	var got, rec []string
	left := map[string]int{}
	for _, c := range tw.Conns() {
		k := fmt.Sprintf("%s %s %s %s %s", c.Protocol, c.State, c.Client, c.Virtual, c.Server)
		got, left[k] = append(got, k), int((c.Deadline-now)/second)
	}
	for _, l := range want {
		w := strings.Fields(l)
		k := strings.Join(append(w[:1:1], w[2:]...), " ")
		rec = append(rec, k)
		var m, s int
		fmt.Sscanf(w[1], "%d:%d", &m, &s)
		if d := left[k] - m*60 - s; d < -1 || d > 1 {
			t.Errorf("%s: %s expires in %d s, recorded %s", at, k, left[k], w[1])
		}
	}
	sort.Strings(got)
	sort.Strings(rec)
	if strings.Join(got, "\n") != strings.Join(rec, "\n") {
		t.Errorf("%s: connections\n%s\nrecorded\n%s", at, strings.Join(got, "\n"), strings.Join(rec, "\n"))
	}
}

// compareCounts compares weight, active and inactive with `ipvsadm -Ln`.
func compareCounts(t *testing.T, at, listing string, tw *Twin) {
	t.Helper()
	var got, rec []string
	for _, c := range tw.Counts() {
		if c.Server.IsValid() {
			got = append(got, fmt.Sprintf("%s %d %d %d", c.Server, c.Weight, c.Active, c.Inactive))
		}
	}
	for _, l := range strings.Split(listing, "\n") {
		if w := strings.Fields(l); len(w) == 6 && w[0] == "->" && w[1] != "RemoteAddress:Port" {
			rec = append(rec, strings.Join([]string{w[1], w[3], w[4], w[5]}, " "))
		}
	}
	sort.Strings(got)
	sort.Strings(rec)
	if strings.Join(got, "\n") != strings.Join(rec, "\n") {
		t.Errorf("%s: servers\n%s\nrecorded\n%s", at, strings.Join(got, "\n"), strings.Join(rec, "\n"))
	}
}

// compareStats compares the counters with `ipvsadm -Ln --stats --exact`, the first listing of listing.
func compareStats(t *testing.T, at, listing string, tw *Twin) {
	t.Helper()
	for _, c := range tw.Counts() {
		name := c.Server.String()
		if !c.Server.IsValid() {
			name = c.Service.String()
		}
		want := ""
		for _, l := range strings.Split(listing, "\n") {
			if w := strings.Fields(l); len(w) == 7 && w[1] == name && want == "" {
				want = strings.Join(w[2:], " ")
			}
		}
		if got := fmt.Sprintf("%d %d %d %d %d", c.Conns, c.InPkts, c.OutPkts, c.InBytes, c.OutBytes); got != want {
			t.Errorf("%s: %s counted %s, recorded %s", at, name, got, want)
		}
	}
}
