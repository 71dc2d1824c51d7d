package sched_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/sched"
	"github.com/fastlb/fastlb/service"
)

// goldenCase is a recording of Linux 7.3: testdata/golden.jsonl.gz holds the operations and the servers chosen.
type goldenCase struct {
	Case  string
	Steps []struct {
		Op     string
		Ms     int64
		RS     *string
		Stdout string
	}
}

// TestGolden replays the recorded commands and connections of every scheduler through Table and Pick, counting
// connections as the kernel does, and compares the server of every connection, and the counts where they were listed.
// twos draws random numbers: there only whether a server is found, and what the counts sum up to, is compared.
func TestGolden(t *testing.T) {
	f, err := os.Open("testdata/golden.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<24)
	cases, steps := 0, 0
	for lines.Scan() {
		var c goldenCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases++
		t.Run(c.Case, func(t *testing.T) { steps += c.replay(t) })
	}
	if cases < 140 || steps < 4000 {
		t.Errorf("only %d cases, %d choices", cases, steps)
	}
}

// site is the little that a recording needs of a director: the table and the connections' counts.
type site struct {
	t     *testing.T
	table *service.Table
	flows map[string]*goldenFlow // by name
	conns map[string]*goldenFlow // by the packets' addresses
}

type goldenFlow struct {
	key, name string
	server    *service.Server
	active    bool
	expires   clock.Time
}

func (c *goldenCase) replay(t *testing.T) (choices int) {
	slots := service.HeapSlots(64)
	s := &site{t: t, flows: map[string]*goldenFlow{}, conns: map[string]*goldenFlow{}}
	s.table = service.NewTable(slots, func(name string) (service.Scheduler, error) { return sched.New(name, sched.Env{}) })
	random := strings.Contains(c.Case, "/twos/")
	for i, step := range c.Steps {
		now := clock.Time(step.Ms) * clock.Millisecond
		s.expire(now)
		w := strings.Fields(step.Op)
		switch w[0] {
		case "ip":
		case "iptables":
			s.table.SetMarks(append(s.table.Marks(), service.Mark{Mark: 1, Destination: netip.MustParsePrefix(w[8])}))
		case "ipvsadm":
			if w[1] != "-L" {
				s.command(w[1:])
			}
		case "syn", "open", "udp":
			choices++
			got := s.connect(w, now)
			if random {
				if (got == "") != (*step.RS == "") {
					t.Fatalf("step %d %q: got %q, recorded %q", i, step.Op, got, *step.RS)
				}
			} else if got != *step.RS {
				t.Fatalf("step %d %q: got %q, recorded %q", i, step.Op, got, *step.RS)
			}
		case "fin":
			s.close(w[1], now+120*clock.Second)
		case "rst":
			s.close(w[1], now+10*clock.Second)
		case "dump":
			if !random {
				s.compareCounts(i, step.Stdout)
			}
		default:
			t.Fatalf("step %d: unknown operation %q", i, step.Op)
		}
	}
	return choices
}

func (s *site) connect(w []string, now clock.Time) string {
	client, dst := netip.MustParseAddrPort(w[2]), netip.MustParseAddrPort(w[3])
	proto, life := service.TCP, 900*clock.Second
	if w[0] == "udp" {
		proto, life = service.UDP, 300*clock.Second
	} else if w[0] == "syn" {
		life = 60 * clock.Second
	}
	family := uint8(4)
	if dst.Addr().Is6() {
		family = 6
	}
	key := fmt.Sprint(proto, client, dst)
	if f := s.conns[key]; f != nil {
		f.expires = now + life
		return where(f.server, dst.Port())
	}
	r := service.Request{
		Client: packet.AddrFrom(client.Addr()), ClientPort: client.Port(),
		Dst: packet.AddrFrom(dst.Addr()), DstPort: dst.Port(), Protocol: proto, Now: int64(now),
	}
	snap := s.table.Snapshot()
	v := snap.Lookup(snap.MarkOf(r.Dst, proto, r.DstPort), family, proto, r.Dst, r.DstPort)
	if v == nil {
		s.t.Fatalf("%v: no service", w)
	}
	d := v.Pick(&r)
	if d == nil {
		return ""
	}
	d.Bind(false)
	f := &goldenFlow{key: key, name: w[1], server: d, expires: now + life}
	if proto == service.TCP {
		d.Activate()
		f.active = true
	}
	s.flows[f.name], s.conns[key] = f, f
	return where(d, dst.Port())
}

// where is the server as the recordings name it.
func where(d *service.Server, port uint16) string {
	if d.Port != 0 {
		port = d.Port
	}
	if d.LoadMethod() == service.Tunnel {
		return "tun:" + d.Addr.String()
	}
	return netip.AddrPortFrom(d.Addr.Netip(), port).String()
}

// close moves a connection to an inactive state that ends at expires.
func (s *site) close(name string, expires clock.Time) {
	if f := s.flows[name]; f != nil {
		if f.active {
			f.server.Deactivate()
			f.active = false
		}
		f.expires = expires
	}
}

func (s *site) expire(now clock.Time) {
	for k, f := range s.conns {
		if f.expires <= now {
			f.server.Unbind(false, f.active)
			delete(s.conns, k)
			delete(s.flows, f.name)
		}
	}
}

var countLine = regexp.MustCompile(`^  -> (\S+) +\S+ +(\d+) +(\d+) +(\d+)`)

func (s *site) compareCounts(step int, listing string) {
	var want []string
	for _, l := range strings.Split(listing, "\n") {
		if m := countLine.FindStringSubmatch(l); m != nil {
			want = append(want, strings.Join(m[1:], " "))
		}
	}
	n := 0
	for _, v := range s.table.Services() {
		for _, d := range v.Servers {
			active, inactive, _ := d.Counts()
			got := fmt.Sprint(d.ID(), " ", d.LoadWeight(), " ", active, " ", inactive)
			found := false
			for _, w := range want {
				found = found || w == got
			}
			if !found {
				s.t.Errorf("step %d: counts %q are not in the recorded\n%s", step, got, listing)
			}
			n++
		}
	}
	if n != len(want) {
		s.t.Errorf("step %d: %d servers, recorded %d", step, n, len(want))
	}
}

// command carries out an ipvsadm command line of the few forms that the recordings have.
func (s *site) command(w []string) {
	spec := service.Spec{ID: service.ID{Family: 4}, Scheduler: "wlc", Netmask: 0xffffffff}
	server := service.ServerSpec{Method: service.DR, Weight: 1}
	for i := 1; i < len(w); i++ {
		arg := func() string { i++; return w[i] }
		num := func() uint32 {
			n, err := strconv.ParseUint(arg(), 10, 32)
			if err != nil {
				s.t.Fatal(err)
			}
			return uint32(n)
		}
		switch w[i] {
		case "-t", "-u":
			spec.Protocol = service.TCP
			if w[i] == "-u" {
				spec.Protocol = service.UDP
			}
			a := netip.MustParseAddrPort(arg())
			spec.Addr, spec.Port = a.Addr(), a.Port()
			if spec.Addr.Is6() {
				spec.Family, spec.Netmask = 6, 128
			}
		case "-f":
			spec.Mark = num()
		case "-s":
			spec.Scheduler = arg()
		case "-b":
			for _, f := range strings.Split(arg(), ",") {
				switch f {
				case "sh-fallback", "mh-fallback":
					spec.Flags |= service.SchedFlag1
				case "sh-port", "mh-port":
					spec.Flags |= service.SchedFlag2
				default:
					s.t.Fatalf("flag %q", f)
				}
			}
		case "-r":
			if a, err := netip.ParseAddrPort(arg()); err == nil {
				server.Addr, server.Port = a.Addr(), a.Port()
			} else {
				server.Addr, server.Port = netip.MustParseAddr(w[i]), spec.Port
			}
		case "-m":
			server.Method = service.NAT
		case "-i":
			server.Method = service.Tunnel
		case "-w":
			server.Weight = int32(num())
		case "-x":
			server.Upper = num()
		case "-y":
			server.Lower = num()
		default:
			s.t.Fatalf("option %q of %v", w[i], w)
		}
	}
	var err error
	switch w[0] {
	case "-A":
		err = s.table.AddService(spec)
	case "-E":
		err = s.table.EditService(spec)
	case "-D":
		err = s.table.DeleteService(spec.ID)
	case "-C":
		s.table.Flush()
	case "-a":
		err = s.table.AddServer(spec.ID, server)
	case "-e":
		err = s.table.EditServer(spec.ID, server)
	case "-d":
		err = s.table.DeleteServer(spec.ID, server.ServerID)
	default:
		s.t.Fatalf("command %v", w)
	}
	if err != nil {
		s.t.Fatalf("%v: %v", w, err)
	}
}
