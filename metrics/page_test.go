package metrics

import (
	"bufio"
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/fastlb/fastlb/perf"
)

// family is one metric as it stands on the page.
type family struct {
	kind, help string
	samples    []sample
}

type sample struct {
	name   string
	labels map[string]string
	value  float64
}

func (s sample) keys() string { return strings.Join(slices.Sorted(maps.Keys(s.labels)), " ") }

var (
	sampleLine = regexp.MustCompile(`^([a-z_][a-z0-9_]*)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)",?`)
)

// scrape reads the page of a server that listens, as Prometheus would.
func scrape(t *testing.T, from Source) map[string]*family {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(from)
	go s.Serve(l)
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	resp, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Fatalf("%s, %s", resp.Status, kind)
	}
	page, now := map[string]*family{}, ""
	for r := bufio.NewScanner(resp.Body); r.Scan(); {
		line := r.Text()
		if f := strings.SplitN(line, " ", 4); f[0] == "#" {
			if len(f) < 4 {
				t.Fatalf("line %q", line)
			}
			if now = f[2]; page[now] == nil {
				page[now] = &family{}
			}
			if f[1] == "HELP" {
				page[now].help = f[3]
			} else {
				page[now].kind = f[3]
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil || !strings.HasPrefix(m[1], now) {
			t.Fatalf("line %q below %s", line, now)
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		labels := map[string]string{}
		for _, p := range labelPair.FindAllStringSubmatch(m[2], -1) {
			labels[p[1]] = p[2]
		}
		page[now].samples = append(page[now].samples, sample{m[1], labels, v})
	}
	return page
}

// TestPage holds every name, type and label that whoever scrapes a running director may rely on.
func TestPage(t *testing.T) {
	page := scrape(t, source{})
	for name, want := range map[string][2]string{
		"fastlb_service_connections_total":   {"counter", "protocol service"},
		"fastlb_service_packets_total":       {"counter", "direction protocol service"},
		"fastlb_service_bytes_total":         {"counter", "direction protocol service"},
		"fastlb_server_connections_total":    {"counter", "protocol server service"},
		"fastlb_server_packets_total":        {"counter", "direction protocol server service"},
		"fastlb_server_bytes_total":          {"counter", "direction protocol server service"},
		"fastlb_server_active_connections":   {"gauge", "protocol server service"},
		"fastlb_server_inactive_connections": {"gauge", "protocol server service"},
		"fastlb_server_weight":               {"gauge", "protocol server service"},
		"fastlb_server_up":                   {"gauge", "protocol server service"},
		"fastlb_worker_packets_total":        {"counter", "direction worker"},
		"fastlb_worker_drops_total":          {"counter", "reason worker"},
		"fastlb_worker_passed_total":         {"counter", "reason worker"},
		"fastlb_worker_batch_size":           {"histogram", "worker"},
		"fastlb_worker_busy_ratio":           {"gauge", "worker"},
		"fastlb_worker_syscalls_total":       {"counter", "kind worker"},
		"fastlb_worker_frames":               {"gauge", "state worker"},
		"fastlb_worker_copied_total":         {"counter", "worker"},
		"fastlb_ring_fill_empty_total":       {"counter", "interface queue worker"},
		"fastlb_ring_rx_full_total":          {"counter", "interface queue worker"},
		"fastlb_interface_attach_info":       {"gauge", "interface mode"},
		"fastlb_flow_entries":                {"gauge", ""},
		"fastlb_flow_capacity":               {"gauge", ""},
		"fastlb_flow_refused_total":          {"counter", ""},
		"fastlb_build_info":                  {"gauge", "go version"},
		"go_goroutines":                      {"gauge", ""},
		"process_resident_memory_bytes":      {"gauge", ""},
	} {
		f := page[name]
		if f == nil || len(f.samples) == 0 {
			t.Errorf("no %s", name)
			continue
		}
		if f.kind != want[0] {
			t.Errorf("%s is a %s, want a %s", name, f.kind, want[0])
		}
		for _, s := range f.samples {
			if keys := s.keys(); keys != want[1] && !(strings.HasSuffix(s.name, "_bucket") && keys == "le "+want[1]) {
				t.Errorf("%s has labels %q, want %q", s.name, keys, want[1])
			}
		}
	}
	known := map[string]bool{}
	for _, l := range strings.Fields("service protocol server worker interface queue reason direction mode verdict version go kind state cpu node irq_cpus le") {
		known[l] = true
	}
	for name, f := range page {
		if !strings.HasPrefix(name, "fastlb_") {
			continue
		}
		if f.kind == "counter" != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, f.kind)
		}
		if words := len(strings.Fields(f.help)); words < 4 || !strings.HasSuffix(f.help, ".") || !unicode.IsUpper(rune(f.help[0])) && !unicode.IsDigit(rune(f.help[0])) {
			t.Errorf("%s: %q is no sentence to read", name, f.help)
		}
		for _, s := range f.samples {
			for l, v := range s.labels {
				if !known[l] || l == "direction" && v != "in" && v != "out" {
					t.Errorf("%s has %s=%q", name, l, v)
				}
			}
		}
	}
}

// TestReasons holds that each reason is on the page from the start, so that its first packet is an increase.
func TestReasons(t *testing.T) {
	page := scrape(t, source{})
	got := map[string]float64{}
	for _, name := range []string{"fastlb_worker_drops_total", "fastlb_worker_passed_total"} {
		for _, s := range page[name].samples {
			got[name+" "+s.labels["reason"]] = s.value
		}
	}
	if want := perf.Reasons - 1; len(got) != want {
		t.Errorf("%d reasons, want %d", len(got), want)
	}
	for name, want := range map[string]float64{"fastlb_worker_drops_total no_route": 1, "fastlb_worker_passed_total pass_no_service": 2, "fastlb_worker_drops_total runt": 0} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, %v; want %v", name, v, ok, want)
		}
	}
}
