package bench

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/fastlb/fastlb/sched"
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
		if v.NSPerPacket <= 0 || v.MissNS <= 0 || v.BytesPer > 200 {
			t.Errorf("%+v", v)
		}
		t.Logf("%s v%d %s: %.1f ns, allocs %.4f", v.Method, v.Family, v.Kind, v.NSPerPacket, v.Allocs)
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
		if b := base.Find(&c); b == nil || b.Ratio() <= 0 || b.Allocs > 0.001 {
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
		for _, v := range s.svc.Servers {
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
					l := s.lanes[0]
					b.ResetTimer()
					for l.packets < uint64(b.N) {
						l.turn()
					}
					b.ReportMetric(median(l.pieces), "ns/packet")
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
			l := s.lanes[0]
			for l.packets < 2_000_000 && b.N > 1 {
				l.turn()
			}
			l.packets, l.busy = 0, 0
			b.ResetTimer()
			for l.packets < uint64(b.N) {
				l.turn()
			}
			b.ReportMetric(float64(l.busy)/float64(l.packets), "ns/packet")
		})
	}
}
