package replay

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/scenario/frame"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/service"
)

// story is a random life of a director, and what it has done so far, for the report.
type story struct {
	t       *testing.T
	e       *Engine
	r       *rand.Rand
	now     clock.Time
	told    []string
	removed map[string]bool // services that lost a server: their statistics are more than their servers' together
}

const storyCapacity = 256

func newStory(t *testing.T, seed uint64, workers int) *story {
	s := &story{t: t, r: rand.New(rand.NewPCG(seed, 1)), removed: map[string]bool{}, now: clock.Second}
	site := neigh.StaticConfig{
		Interfaces: []neigh.StaticInterface{{Name: "eth0", MAC: macA, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("10.0.0.1/24")}}},
		Neighbors:  map[netip.Addr][6]byte{netip.MustParseAddr("192.0.2.254"): macB},
		Routes:     []neigh.StaticRoute{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.254")}},
	}
	for i := range 4 {
		site.Neighbors[netip.MustParseAddr(fmt.Sprintf("10.0.0.1%d", i))] = macB
	}
	var err error
	if s.e, err = New(Options{Workers: workers, Capacity: storyCapacity, Servers: 256, frames: 256, Network: site}); err != nil {
		t.Fatal(err)
	}
	return s
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// service is a random service as ipvsadm names it.
func (s *story) service() string {
	return pick(s.r, "-t 192.0.2.10:80", "-t 192.0.2.10:21", "-t 192.0.2.10:0", "-u 192.0.2.10:53", "-u 192.0.2.10:5060", "--sctp-service 192.0.2.10:80", "-f 7")
}

func (s *story) command() {
	v := s.service()
	server := fmt.Sprintf("10.0.0.1%d", s.r.IntN(4))
	if !strings.HasPrefix(v, "-f") && !strings.HasSuffix(v, ":0") {
		server += v[strings.LastIndex(v, ":"):]
	}
	options := fmt.Sprintf(" -s %s", pick(s.r, "rr", "wlc", "lc", "sh", "nq", "sed", "wrr", "ovf", "fo", "mh"))
	if s.r.IntN(2) == 0 || strings.HasSuffix(v, ":0") || strings.HasSuffix(v, ":21") {
		options += fmt.Sprintf(" -p %d", pick(s.r, 1, 30, 400))
		if strings.HasSuffix(v, ":5060") {
			options += " --pe sip"
		}
	}
	if strings.HasPrefix(v, "-u") && s.r.IntN(2) == 0 {
		options += " -o"
	}
	how := fmt.Sprintf(" -r %s %s -w %d", server, pick(s.r, "-m", "-m", "-g", "-i"), s.r.IntN(4))
	if s.r.IntN(4) == 0 {
		how += " -x 3 -y 1"
	}
	var line string
	switch s.r.IntN(16) {
	case 0, 1, 2:
		line = "-A " + v + options
	case 3:
		line = "-E " + v + options
	case 4, 5, 6, 7, 8:
		line = "-a " + v + how
	case 9, 10:
		line = "-e " + v + how
	case 11, 12:
		line = "-d " + v + " -r " + server
		s.removed[v] = true
	case 13:
		line = "-D " + v
	case 14:
		line = "-Z " + v
	default:
		line = pick(s.r, "-Z", "--set 100 20 30", "--set 900 120 300", "-C")
	}
	s.told = append(s.told, "ipvsadm "+line)
	s.e.Advance(s.now)
	var out strings.Builder
	if s.e.Ipvsadm(strings.Fields(line), &out, &out) == 0 && line[:2] == "-D" {
		delete(s.removed, v)
	}
}

func (s *story) tunable() {
	name := pick(s.r, "expire_nodest_conn", "expire_quiescent_template", "sloppy_tcp", "sloppy_sctp", "schedule_icmp", "nat_icmp_send",
		"conn_reuse_mode", "drop_entry", "drop_packet", "secure_tcp", "cache_bypass")
	value := pick(s.r, "0", "0", "1", "3")
	s.told = append(s.told, "tunable "+name+" "+value)
	if err := s.e.Apply(control.Op{Kind: control.SetTunable, Name: name, Value: value}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) packet() {
	client := fmt.Sprintf("198.51.100.%d:%d", 1+s.r.IntN(3), 1+s.r.IntN(6))
	vip := "192.0.2.10:" + pick(s.r, "80", "21", "53", "5060", "4000")
	proto := pick(s.r, "tcp", "tcp", "tcp", "udp", "udp", "sctp")
	if s.r.IntN(8) == 0 {
		vip = "203.0.113.9:80" // of the mark
	}
	rest := pick(s.r, "S", "S", "A", "FA", "R", "SA", "P")
	switch proto {
	case "udp":
		rest = pick(s.r, "len=8", "'pay=INVITE x~Call-ID: "+pick(s.r, "a", "b@c", strings.Repeat("long", 50))+"~~'")
	case "sctp":
		rest = pick(s.r, "chunk=1", "chunk=10", "chunk=0", "chunk=6", "chunk=14")
	}
	from, to := client, vip
	if s.r.IntN(3) == 0 {
		from, to = fmt.Sprintf("10.0.0.1%d:%s", s.r.IntN(4), pick(s.r, "80", "21", "53", "5060")), client
	}
	line := fmt.Sprintf("%s %s > %s %s", proto, from, to, rest)
	if s.r.IntN(12) == 0 {
		line = fmt.Sprintf("icmp 203.0.113.1 > %s type=3 code=%d inner=last", netip.MustParseAddrPort(to).Addr(), pick(s.r, 1, 4))
	}
	words, err := Words(line)
	if err != nil {
		s.t.Fatal(err)
	}
	spec, err := frame.Parse(words)
	if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	inner, _ := frame.Parse([]string{"udp", vip, ">", client, "len=8"})
	quoted, err := inner.Packets(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	packets, err := spec.Packets(map[string][]byte{"last": quoted[0]})
	if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	s.told = append(s.told, "packet "+line)
	for _, p := range packets {
		s.e.Receive("eth0", s.now, frame.Ethernet(macA, macB, p))
	}
}

// check holds counters against the table.
func (s *story) check() {
	type counts struct{ active, inactive, persistent int32 }
	have := make([]counts, s.e.slots.High()+1)
	hang := map[flow.Ref]int32{}
	n := 0
	s.e.flows.Walk(func(_ flow.Ref, c *flow.Conn) bool {
		n++
		if c.Control != 0 {
			hang[c.Control]++
		}
		if c.Server == 0 {
			return true
		}
		switch flags := c.LoadFlags(); {
		case flags&flow.FlagTemplate != 0:
			have[c.Server].persistent++
		case flags&flow.FlagInactive != 0:
			have[c.Server].inactive++
		default:
			have[c.Server].active++
		}
		return true
	})
	if n != s.e.flows.Len() {
		s.fail("%d entries, Len says %d", n, s.e.flows.Len())
	}
	s.e.flows.Walk(func(r flow.Ref, c *flow.Conn) bool {
		if c.NControl != hang[r] {
			s.fail("entry %d: %d hang on it, it says %d", r, hang[r], c.NControl)
		}
		return true
	})
	for i := uint32(1); i < uint32(len(have)); i++ {
		d := s.e.slots.Get(i)
		if d == nil || !d.InUse() {
			if have[i] != (counts{}) {
				s.fail("slot %d is free and has %+v", i, have[i])
			}
			continue
		}
		active, inactive, persistent := d.Counts()
		if got := (counts{int32(active), int32(inactive), int32(persistent)}); got != have[i] {
			s.fail("server %v: counts %+v, the table has %+v", d.Addr, got, have[i])
		}
	}
	services, err := s.e.control.Services()
	if err != nil {
		s.fail("%v", err)
	}
	for _, v := range services {
		sum := v.Stats
		for _, d := range v.Servers {
			sum.Conns -= d.Stats.Conns
			sum.InPkts -= d.Stats.InPkts
			sum.OutPkts -= d.Stats.OutPkts
			sum.InBytes -= d.Stats.InBytes
			sum.OutBytes -= d.Stats.OutBytes
		}
		// What removed servers counted is at most what the service has more.
		lost := s.removed[idText(v)]
		if sum.Conns|sum.InPkts|sum.OutPkts|sum.InBytes|sum.OutBytes != 0 && !lost || int64(sum.Conns) < 0 || int64(sum.InPkts) < 0 || int64(sum.OutBytes) < 0 {
			s.fail("service %v: %+v more than its servers", v.Spec.ID, sum)
		}
	}
}

// idText is the service as command names it.
func idText(v control.ServiceEntry) string {
	if v.Spec.Mark != 0 {
		return fmt.Sprintf("-f %d", v.Spec.Mark)
	}
	return fmt.Sprintf("%s %s:%d", map[uint8]string{6: "-t", 17: "-u", 132: "--sctp-service"}[v.Spec.Protocol], v.Spec.Addr, v.Spec.Port)
}

func (s *story) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\nafter\n  %s", fmt.Sprintf(format, args...), strings.Join(s.told, "\n  "))
}

// end lets everything expire: nothing may be left, and every record is free again.
func (s *story) end(workers int) {
	s.now += 3 * 3600 * clock.Second
	s.e.Advance(s.now)
	s.check()
	if n := s.e.flows.Len(); n != 0 {
		s.fail("%d entries are left after three hours", n)
	}
	if err := s.e.Apply(control.Op{Kind: control.Flush}); err != nil {
		s.t.Fatal(err)
	}
	s.now += 600 * clock.Second
	s.e.Advance(s.now)
	if n := s.e.slots.Used(); n != 0 {
		s.fail("%d server slots are left", n)
	}
	free := 0
	for w := range workers {
		for s.e.flows.Alloc(w) != 0 {
			free++
		}
	}
	if free != storyCapacity {
		s.fail("%d of %d records are free", free, storyCapacity)
	}
}

// TestCountersConsistent: whatever commands and packets come, a server's counts are what the table has of it, a service's
// statistics are its servers', and nothing is left after everything expired.
func TestCountersConsistent(t *testing.T) {
	seeds := 150
	if testing.Short() {
		seeds = 60
	}
	made, reasons := 0, map[int]bool{}
	for seed := range seeds {
		workers := 1 + seed%3
		s := newStory(t, uint64(seed), workers)
		if err := s.e.Apply(control.Op{Kind: control.SetMarks, Marks: marksForStory}); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			s.command()
		}
		for range 300 {
			s.now += clock.Time(s.r.IntN(300)) * clock.Millisecond
			switch n := s.r.IntN(60); {
			case n == 0:
				s.now += pick[clock.Time](s.r, 2, 61, 130, 400, 1000) * clock.Second
				s.told = append(s.told, fmt.Sprintf("at %v", s.now))
			case n < 3:
				s.tunable()
			case n < 12:
				s.command()
			default:
				s.packet()
			}
			s.e.Advance(s.now)
			s.check()
		}
		made = max(made, s.e.flows.Len())
		for r, n := range s.e.Reasons() {
			if n > 0 {
				reasons[r] = true
			}
		}
		s.end(workers)
	}
	if made < 20 || len(reasons) < 8 {
		t.Errorf("stories of at most %d entries and %d reasons tell little", made, len(reasons))
	}
}

var marksForStory = []service.Mark{{Mark: 7, Destination: netip.MustParsePrefix("203.0.113.0/24")}}
