package bench

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fastlb/fastlb/sched"
	"github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/worker"
)

// Every combination forwards what it is given, without allocating.
func TestRun(t *testing.T) {
	o := Defaults()
	o.Connections = []int{1000}
	o.Duration = 20 * time.Millisecond
	r, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != len(o.Methods)*len(o.Families)*len(o.Kinds) {
		t.Fatalf("%d results", len(r.Results))
	}
	for _, v := range r.Results {
		if v.BytesPer > 200 {
			t.Errorf("%+v", v)
		}
		t.Logf("%s v%d %s: %.1f ns, allocs %.4f", v.Method, v.Family, v.Kind, v.NSPerPacket, v.Allocs)
	}
}

// A report that was measured passes its own check, and one without a number does not.
func TestCheck(t *testing.T) {
	base, err := Load("baseline.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := base.Check(); err != nil {
		t.Error(err)
	}
	base.Results[0].MissNS, base.Results[1].Stages, base.Results[2].MPPS = 0, nil, math.Inf(1)
	err = base.Check()
	for _, want := range []string{"miss_ns is 0", "stage parse is 0", "mpps is +Inf"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: lacks %q", err, want)
		}
	}
}

// Small tables are compared by the bare forwarder, large ones by the miss; what is slower, faster, new or missing is
// said so, and slower or missing rows fail where that is asked for.
func TestCompare(t *testing.T) {
	row := func(method string, connections int, miss, bare float64) Result {
		return Result{Method: method, Family: 4, Connections: connections, Kind: Established, Workers: 1, RatioMiss: miss, RatioBare: bare}
	}
	was := &Report{Results: []Result{
		row("dr", 1000, 1, 4), row("nat", 1000, 1, 4), row("dr", 1e6, 0.4, 9), row("nat", 1e6, 0.4, 9), row("tunnel", 1e6, 0.4, 9), row("dr", 1e7, 1, 1),
	}}
	now := &Report{Results: []Result{
		row("dr", 1000, 9, 4.4), row("nat", 1000, 1, 8), row("dr", 1e6, 0.6, 1), row("nat", 1e6, 0.2, 90), {Method: "fullnat", Connections: 1e6, Workers: 1},
	}}
	rows := now.Compare(was)
	var got []string
	for i := range rows {
		got = append(got, fmt.Sprintf("%s %s", rows[i].By, rows[i].Verdict()))
	}
	want := []string{"bare within", "bare slower by 2.00", "miss slower by 1.50", "miss faster by 2.00", "miss new", " not measured"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	err := Exceeds(rows, 1.6)
	if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "nat, IPv4, 1000") || !strings.Contains(err.Error(), "tunnel") {
		t.Errorf("beyond 1.6: %v", err)
	}
	if err := Exceeds(now.Compare(now), 1); err != nil {
		t.Errorf("beside itself: %v", err)
	}
}

// The baseline that `make bench` compares with is a report of what it measures, and was made where nothing allocates.
func TestBaseline(t *testing.T) {
	base, err := Load("baseline.json")
	if err != nil {
		t.Fatal(err)
	}
	o := Defaults()
	o.Connections = []int{1_000_000}
	for _, c := range o.combinations() {
		if b := base.Find(&c); b == nil || b.RatioMiss <= 0 || b.Allocs > 0.001 {
			t.Errorf("%s: %+v", &c, b)
		}
	}
	file := filepath.Join(t.TempDir(), "copy.json")
	if err := base.Write(file); err != nil {
		t.Fatal(err)
	}
	if again, err := Load(file); err != nil || !reflect.DeepEqual(again, base) {
		t.Errorf("written and read again it is another: %v", err)
	}
}

// The stages of each piece add up to what it took, less the readings of the clock, however disturbed it was.
func TestStages(t *testing.T) {
	s, err := newSite(siteConfig{method: service.NAT, family: 4, connections: 1000, workers: 1, batch: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.run(5*time.Millisecond, true)
	if len(s.pieces) == 0 {
		t.Fatal("no piece")
	}
	for _, p := range s.pieces {
		sum := float32(0)
		for st, ns := range p.stages {
			if ns < 0 || ns == 0 && worker.Stage(st) != worker.StageReceive {
				t.Errorf("stage %s took %g ns", worker.Stage(st), ns)
			}
			sum += ns
		}
		if sum > p.ns*1.01 || sum < p.ns/2 {
			t.Errorf("the stages took %.1f ns a packet, the piece %.1f", sum, p.ns)
		}
	}
}

// Two workers forward beside each other, whatever the kind, and are compared with one.
func TestWorkers(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	o := Defaults()
	o.Methods, o.Families, o.Connections, o.Workers, o.Duration, o.Repeat = []string{"dr", "nat"}, []int{4}, []int{5000}, []int{2, 1}, 10*time.Millisecond, 2
	for _, spread := range []string{RSS, Shared} {
		for _, services := range []int{1, 2} {
			o.Spread, o.Services = spread, services
			r, err := Run(o)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Results) != 2*2*2 {
				t.Fatalf("%d results", len(r.Results))
			}
			for i, v := range r.Results {
				if v.Workers != 2-i%2 || v.MPPS <= 0 || v.Scaling <= 0 || v.BareNS <= 0 || v.BareScaling <= 0 || v.Workers == 1 && v.Scaling != 1 {
					t.Errorf("%+v", v)
				}
			}
		}
	}
	o.Workers = []int{runtime.NumCPU() + 1}
	if _, err := Run(o); err == nil {
		t.Error("more workers than CPUs were measured")
	}
}

// A connection's packets come to one worker and its replies to one; over all connections each pair of workers occurs
// equally often; every connection gets packets.
func TestSpread(t *testing.T) {
	const workers, connections = 3, 9 * 20
	s := &site{cfg: siteConfig{workers: workers, connections: connections}}
	to := map[bool]map[uint64]int{false: {}, true: {}}
	for id := range workers {
		l := &lane{site: s, id: id, rng: uint64(id) + 1}
		for range 20_000 {
			for _, reply := range []bool{false, true} {
				n := l.choose(reply)
				if had, ok := to[reply][n]; ok && had != id {
					t.Fatalf("connection %d, reply %v: workers %d and %d", n, reply, had, id)
				}
				to[reply][n] = id
			}
		}
	}
	pairs := map[[2]int]int{}
	for n := range uint64(connections) {
		in, ok := to[false][n]
		out, ok2 := to[true][n]
		if !ok || !ok2 {
			t.Fatalf("connection %d got no packets", n)
		}
		pairs[[2]int{in, out}]++
	}
	for p, n := range pairs {
		if n != connections/workers/workers {
			t.Errorf("workers %v share %d connections", p, n)
		}
	}
}

// A walk meets every line of the area once before it begins anew.
func TestWalk(t *testing.T) {
	for _, lines := range []int{64, 100, 4097} {
		mem := make([]byte, lines*64)
		if missTime(mem, time.Microsecond) <= 0 {
			t.Error("no time")
		}
		seen, at := map[uint32]bool{}, uint32(0)
		for !seen[at] {
			seen[at] = true
			at = binary.NativeEndian.Uint32(mem[at*64:])
		}
		if len(seen) != lines || at != 0 {
			t.Errorf("%d lines: the walk meets %d, and ends at %d", lines, len(seen), at)
		}
	}
}

// The process grows by no more than the table's own size, and by all of it.
func TestMemory(t *testing.T) {
	const connections = 500_000
	s, err := newSite(siteConfig{method: service.NAT, family: 4, connections: connections, workers: 1, batch: 64})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	t.Logf("%.2f bytes a connection by the process's memory, %.2f by the table", s.rssPer, s.bytesPerConnection())
	if s.rssPer < 150 || s.rssPer > 170 { // a huge page at the table's end is 4 of them
		t.Errorf("%.2f bytes a connection", s.rssPer)
	}
	if err := enough(siteConfig{connections: 1, workers: 1, batch: 64}, 1<<60); err == nil || !strings.Contains(err.Error(), "available") {
		t.Errorf("a table larger than the machine: %v", err)
	}
}

// Every scheduler forwards every new connection, by whatever number of servers, and spreads them where it should.
func TestSchedulers(t *testing.T) {
	o := Defaults()
	o.Methods, o.Families, o.Kinds, o.Connections = []string{"dr"}, []int{4, 6}, []string{New}, []int{5000}
	o.Schedulers, o.Servers, o.Duration = sched.Names(), []int{1, 40}, time.Millisecond
	r, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != len(sched.Names())*2*2 {
		t.Fatalf("%d results", len(r.Results))
	}
	for _, c := range o.combinations() {
		s, err := newSite(siteConfig{method: methods[c.Method], family: c.Family, connections: c.Connections, fresh: true, workers: 1, batch: 64, scheduler: c.Scheduler, servers: c.Servers})
		if err != nil {
			t.Fatal(err)
		}
		for range 64 {
			s.lanes[0].turn()
		}
		used := 0
		for _, v := range s.svcs[0].Servers {
			if active, inactive, _ := v.Counts(); active+inactive > 0 {
				used++
			}
		}
		if all := c.Servers == 1 || c.Scheduler != "fo" && c.Scheduler != "ovf"; used == 0 || all && used < c.Servers*3/4 {
			t.Errorf("%s: %d servers used", &c, used)
		}
		s.close()
	}
}

// BenchmarkRound times the worker's round: a row a method, family and table size.
func BenchmarkRound(b *testing.B) {
	for _, method := range []string{"dr", "nat", "tunnel"} {
		for _, family := range []int{4, 6} {
			for _, n := range []int{1000, 1_000_000} {
				b.Run(fmt.Sprintf("%s/IPv%d/%d", method, family, n), func(b *testing.B) {
					s, err := newSite(siteConfig{method: methods[method], family: family, connections: n, workers: 1, batch: 64})
					if err != nil {
						b.Fatal(err)
					}
					defer s.close()
					b.ResetTimer()
					s.forward(uint64(b.N))
					b.ReportMetric(s.figure().ns, "ns/packet")
				})
			}
		}
	}
}

// BenchmarkNew times connections being opened into a half-full table, and expiring out of it.
func BenchmarkNew(b *testing.B) {
	for _, method := range []string{"dr", "nat"} {
		b.Run(method, func(b *testing.B) {
			s, err := newSite(siteConfig{method: methods[method], family: 4, connections: 1_000_000, fresh: true, workers: 1, batch: 64})
			if err != nil {
				b.Fatal(err)
			}
			defer s.close()
			if b.N > 1 {
				s.forward(2_000_000) // until the table is half full
			}
			b.ResetTimer()
			s.forward(uint64(b.N))
			b.ReportMetric(s.figure().ns, "ns/packet")
		})
	}
}

// forward runs the only lane of a site for a number of packets.
func (s *site) forward(packets uint64) {
	l := s.lanes[0]
	s.end, s.packets, s.pieces = 0, 0, s.pieces[:0]
	for s.packets < packets {
		l.step(time.Hour)
	}
}
