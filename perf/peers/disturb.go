package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/lab"
)

const metricsAddr = "127.0.0.1:9108"

// disturbance is something that the director does beside forwarding, asked for by a process of its own on the
// generator's CPU: helperVisit.
type disturbance struct {
	name  string
	what  string
	visit func(ctx context.Context, v visitor) error // once
	pause time.Duration
}

var disturbances = []disturbance{
	{"api", "GET /v1/status and /v1/services, 500 a second", visitAPI, 4 * time.Millisecond},
	{"scrape", "GET /metrics, 10 a second", visitMetrics, 100 * time.Millisecond},
	{"reload", "another weight and a reload, 5 a second", visitReload, 200 * time.Millisecond},
	{"list", "ipvsadm -Lnc, one after the other", visitList, 0},
}

// visitor is what a visit needs.
type visitor struct {
	fastlb, socket, config string
	n                      int // of the visit
	client                 *http.Client
}

// helperVisit is the command of the process that disturbs: NAME FASTLB SOCKET CONFIG.
const helperVisit = "visit"

// visit disturbs until it is told to end, and then says how often it did.
func visit(ctx context.Context, args []string) error {
	if err := pinProcess(generatorCPU); err != nil {
		return err
	}
	for _, d := range disturbances {
		if len(args) != 4 || d.name != args[0] {
			continue
		}
		v := visitor{fastlb: args[1], socket: args[2], config: args[3]}
		v.client = api(v.socket)
		if d.name == "scrape" {
			v.client = &http.Client{}
		}
		defer v.client.CloseIdleConnections()
		for start := time.Now(); ctx.Err() == nil; v.n++ {
			if err := d.visit(ctx, v); err != nil && ctx.Err() == nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(start.Add(time.Duration(v.n+1) * d.pause))):
			}
		}
		fmt.Println(v.n)
		return nil
	}
	return fmt.Errorf("%s: bad arguments %q", helperVisit, args)
}

func (v visitor) get(ctx context.Context, method, url string) error {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	response, err := v.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, url, response.Status)
	}
	return nil
}

func visitAPI(ctx context.Context, v visitor) error {
	return errors.Join(v.get(ctx, http.MethodGet, "http://fastlb/v1/status"), v.get(ctx, http.MethodGet, "http://fastlb/v1/services"))
}

func visitMetrics(ctx context.Context, v visitor) error {
	return v.get(ctx, http.MethodGet, "http://"+metricsAddr+"/metrics")
}

// visitReload gives the last server of the file another weight each time.
func visitReload(ctx context.Context, v visitor) error {
	b, err := os.ReadFile(v.config)
	if err != nil {
		return err
	}
	last := fmt.Sprintf("{address: %q", servers[len(servers)-1])
	head, _, ok := strings.Cut(string(b), last)
	if !ok {
		return fmt.Errorf("%s names no server %s", v.config, servers[len(servers)-1])
	}
	changed := fmt.Sprintf("%s%s, weight: %d}]\n", head, last, 1+v.n%2)
	if err := os.WriteFile(v.config+".new", []byte(changed), 0o644); err != nil {
		return err
	}
	if err := os.Rename(v.config+".new", v.config); err != nil {
		return err
	}
	return v.get(ctx, http.MethodPost, "http://fastlb/v1/reload")
}

func visitList(ctx context.Context, v visitor) error {
	c := exec.CommandContext(ctx, v.fastlb, "ipvsadm", "-Lnc")
	c.Env = append(os.Environ(), "FASTLB_SOCKET="+v.socket)
	if err := c.Run(); err != nil {
		return fmt.Errorf("ipvsadm -Lnc: %w", err)
	}
	return nil
}

// pinProcess keeps all threads of this process, and what it starts, on a CPU.
func pinProcess(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		var tid int
		if _, err := fmt.Sscan(t.Name(), &tid); err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("pin to CPU %d: %w", cpu, err)
		}
	}
	return nil
}

// disturbResult is a line of the table.
type disturbResult struct {
	latencyResult
	Visits int     `json:"visits"`
	GCs    float64 `json:"collections"` // of the director's garbage
}

type disturbReport struct {
	Machine     machine         `json:"machine"`
	Connections uint64          `json:"connections"`
	Results     []disturbResult `json:"results"`
}

func measureDisturbances(ctx context.Context, args []string) (err error) {
	o := newOptions("disturbances")
	n := o.Uint64("connections", 1_000_000, "connections in the table, 1 to 16 million")
	rate := o.Float64("rate", 100_000, "packets a second, 1000 to 1 million")
	poll := o.String("poll", "adaptive", "workers.poll of the director, `MODE` busy, adaptive or interrupt")
	duration := o.Duration("duration", 500*time.Millisecond, "`TIME` of a measurement, 100ms to 1m")
	rounds := o.Int("rounds", 7, "rounds of each, 1 to 100; the table shows medians")
	only := o.String("only", "", "only these `NAMES` of api, scrape, reload, list, separated by commas; none: all")
	if err := o.parse(args); err != nil {
		return err
	}
	chosen, err := chooseDisturbances(*only)
	if err != nil {
		return err
	}
	if *n < 1 || *n > 16_000_000 || *rate < 1000 || *rate > 1e6 || *duration < 100*time.Millisecond || *duration > time.Minute || *rounds < 1 || *rounds > 100 {
		return errors.New("a flag is out of its range: see -h")
	}
	s, err := newSite(o.binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	d := director{poll: *poll, capacity: int(*n) + 65536, metrics: metricsAddr, timeout: "3h"}
	f, err := s.start(kind{"fastlb, NAT", 2, true, runFastlb(d)}, plan{flows: clientPorts, stamps: true})
	if err != nil {
		return err
	}
	report := disturbReport{Machine: thisMachine()}
	if report.Connections, err = f.fill(ctx, *n); err != nil {
		return err
	}
	l, err := f.time()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	fmt.Printf("%s\nfastlb, NAT of two arms, poll: %s, %d connections in the table; %.0f packets a second of %d connections; medians of %d rounds of %v\n\n",
		report.Machine, *poll, report.Connections, *rate, clientPorts, *rounds, *duration)
	all := append([]disturbance{{name: "nothing", what: "nothing"}}, chosen...)
	lines := make([][]disturbResult, len(all))
	disturbed := noise{tries: o.tries}
	for range *rounds {
		for i, d := range all {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			var r disturbResult
			err := disturbed.undisturbed(func() (err error) {
				r, err = f.disturbed(s, l, d, *rate, *duration)
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			lines[i] = append(lines[i], r)
		}
	}
	for i := range all {
		report.Results = append(report.Results, medianLine(lines[i]))
	}
	rows := [][]string{{"meanwhile", "p50", "p99", "p99.9", "max", "lost", "times", "GCs"}}
	for _, r := range report.Results {
		rows = append(rows, []string{r.Name, micros(r.SentP50), micros(r.SentP99), micros(r.SentP999), micros(r.Max),
			fmt.Sprintf("%.3f %%", 100*r.Lost), fmt.Sprint(r.Visits), fmt.Sprintf("%.0f", r.GCs)})
	}
	table(os.Stdout, rows)
	fmt.Println("\n  µs from when a packet was sent to when it came back (max: from when it was due).")
	fmt.Print(disturbed)
	return writeJSON(o.write, report)
}

// chooseDisturbances finds those named in a list; all for none.
func chooseDisturbances(list string) (chosen []disturbance, err error) {
	if list == "" {
		return disturbances, nil
	}
	for _, name := range strings.Split(list, ",") {
		i := slices.IndexFunc(disturbances, func(d disturbance) bool { return d.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no disturbance %q", name)
		}
		chosen = append(chosen, disturbances[i])
	}
	return chosen, nil
}

// medianLine takes the median of each latency and of the collections.
func medianLine(all []disturbResult) disturbResult {
	m := all[len(all)-1]
	latencies := make([]latencyResult, len(all))
	for i, r := range all {
		latencies[i] = r.latencyResult
	}
	m.latencyResult = medianLatency(latencies)
	m.GCs = medianOf(all, func(r disturbResult) float64 { return r.GCs })
	return m
}

// disturbed measures latency while something else goes on.
func (f *forwarder) disturbed(s *site, l latencies, d disturbance, rate float64, duration time.Duration) (r disturbResult, err error) {
	const collections = "go_gc_duration_seconds_count"
	before, err := f.metric(collections)
	if err != nil {
		return r, err
	}
	var p *lab.Process
	if d.visit != nil {
		self, err := os.Executable()
		if err != nil {
			return r, err
		}
		log := filepath.Join(s.dir, "visit.log")
		if err := os.WriteFile(log, nil, 0o644); err != nil {
			return r, err
		}
		if p, err = lab.StartIn(f.namespace, d.what, log, self, helperVisit, d.name, s.binary, f.socket, f.config); err != nil {
			return r, err
		}
		defer func() {
			select {
			case <-p.Ended():
				err = errors.Join(err, fmt.Errorf("%s ended: %s", d.what, p.Output()))
				return
			default:
			}
			if err = errors.Join(err, p.Stop()); err == nil {
				if _, scanErr := fmt.Sscan(p.Output(), &r.Visits); scanErr != nil {
					err = fmt.Errorf("%s: %s", d.what, p.Output())
				}
			}
		}()
		time.Sleep(100 * time.Millisecond) // it is under way
	}
	if r.latencyResult, err = f.latency(l, rate, duration, sleeping); err != nil {
		return r, err
	}
	r.Name = d.what
	after, err := f.metric(collections)
	r.GCs = after - before
	return r, err
}
