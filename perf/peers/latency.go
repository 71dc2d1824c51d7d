package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// latencyResult is a line of the table: quantiles in µs since a packet was due.
type latencyResult struct {
	Name string  `json:"name"`
	Load float64 `json:"load"` // of the maximum
	Rate float64 `json:"rate"` // packets a second
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
	Max  float64 `json:"max_us"`
	Lost float64 `json:"lost"`
	// The same since the generator in fact sent the packet: it may be late by itself.
	SentP50  float64 `json:"sent_p50_us"`
	SentP99  float64 `json:"sent_p99_us"`
	SentP999 float64 `json:"sent_p999_us"`
}

type latencyReport struct {
	Machine machine            `json:"machine"`
	Maximum float64            `json:"maximum_rate"`
	Idle    map[string]float64 `json:"idle"` // part of a CPU that a director without traffic takes
	Results []latencyResult    `json:"results"`
	noise   noise
}

func measureLatency(ctx context.Context, args []string) (err error) {
	o := newOptions("latency")
	loads := o.String("loads", "10,50,90", "`PERCENT` of the maximum load, separated by commas")
	polls := o.String("polls", "busy,adaptive,interrupt", "`MODES` of workers.poll to be measured, separated by commas")
	duration := o.Duration("duration", 300*time.Millisecond, "`TIME` of a measurement, 100ms to 1m")
	rounds := o.Int("rounds", 7, "measurements of each line, 1 to 100; the table shows medians")
	idle := o.Duration("idle", 3*time.Second, "`TIME` without traffic in which the director's CPU time is taken; 0: none")
	if err := o.parse(args); err != nil {
		return err
	}
	parts, err := parsePercents(*loads)
	if err != nil {
		return err
	}
	if *duration < 100*time.Millisecond || *duration > time.Minute || *idle < 0 || *idle > time.Minute || *rounds < 1 || *rounds > 100 {
		return errors.New("a flag is out of its range: see -h")
	}
	kinds := []kind{ringBusy, routing}
	for _, poll := range strings.Split(*polls, ",") {
		d := defaultDirector
		d.poll = poll
		kinds = append(kinds, kind{"fastlb, " + poll, 2, true, runFastlb(d)})
	}
	report := latencyReport{Machine: thisMachine(), Idle: map[string]float64{}, noise: noise{tries: o.tries}}
	fmt.Printf("%s\nNAT of two arms, 60-byte packets, %d connections, requests and replies by turns; medians of %d rounds of %v\n",
		report.Machine, clientPorts, *rounds, *duration)
	// The maximum is fastlb's own, in the same run.
	for i := len(kinds) - 1; i >= 0; i-- {
		results, err := measureKind(ctx, o.binary, kinds[i], parts, *rounds, *duration, *idle, &report)
		report.Results = append(results, report.Results...)
		if err != nil {
			printLatencies(report) // what there is: told to end, most often
			return err
		}
	}
	printLatencies(report)
	return writeJSON(o.write, report)
}

// measureKind has the machine to itself with one forwarder: two that never sleep would share a CPU.
func measureKind(ctx context.Context, binary string, k kind, loads []float64, rounds int, d, idle time.Duration, report *latencyReport) (results []latencyResult, err error) {
	s, err := newSite(binary)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	f, err := s.start(k, plan{flows: clientPorts, stamps: true})
	if err != nil {
		return nil, err
	}
	if f.socket != "" && idle > 0 {
		if report.Idle[k.name], err = f.idleCPU(ctx, idle); err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
	}
	if report.Maximum == 0 {
		var m flooded
		err := report.noise.undisturbed(func() (err error) {
			m, err = f.flood(time.Second)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		report.Maximum = m.rate
	}
	l, err := f.time()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	all := make([][]latencyResult, len(loads))
	for range rounds {
		for i, load := range loads {
			if ctx.Err() != nil {
				break
			}
			var r latencyResult
			err := report.noise.undisturbed(func() (err error) {
				r, err = f.latency(l, load*report.Maximum, d, spinning)
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k.name, err)
			}
			r.Load = load
			all[i] = append(all[i], r)
		}
	}
	for _, rounds := range all {
		if len(rounds) > 0 {
			results = append(results, medianLatency(rounds))
		}
	}
	return results, context.Cause(ctx)
}

// medianLatency takes the median of each figure.
func medianLatency(all []latencyResult) latencyResult {
	m := all[0]
	for _, figure := range []func(*latencyResult) *float64{
		func(r *latencyResult) *float64 { return &r.P50 }, func(r *latencyResult) *float64 { return &r.P99 },
		func(r *latencyResult) *float64 { return &r.P999 }, func(r *latencyResult) *float64 { return &r.Max },
		func(r *latencyResult) *float64 { return &r.SentP50 }, func(r *latencyResult) *float64 { return &r.SentP99 },
		func(r *latencyResult) *float64 { return &r.SentP999 }, func(r *latencyResult) *float64 { return &r.Lost },
	} {
		*figure(&m) = medianOf(all, func(r latencyResult) float64 { return *figure(&r) })
	}
	return m
}

func printLatencies(report latencyReport) {
	fmt.Printf("maximum load: %.3f million packets a second\n\n", report.Maximum/1e6)
	rows := [][]string{{"", "load", "p50", "p99", "p99.9", "max", "added p50", "p99", "p99.9", "sent p50", "p99", "p99.9", "lost"}}
	base := map[float64]latencyResult{}
	for _, r := range report.Results {
		if _, ok := base[r.Load]; !ok {
			base[r.Load] = r
		}
		b := base[r.Load]
		rows = append(rows, []string{r.Name, fmt.Sprintf("%.0f %%", 100*r.Load), micros(r.P50), micros(r.P99), micros(r.P999), micros(r.Max),
			micros(r.P50 - b.P50), micros(r.P99 - b.P99), micros(r.P999 - b.P999),
			micros(r.SentP50), micros(r.SentP99), micros(r.SentP999), fmt.Sprintf("%.3f %%", 100*r.Lost)})
	}
	table(os.Stdout, rows)
	fmt.Println("\n  µs from when a packet was due to when it came back. added: less the first forwarder's at the same load.\n" +
		"  sent: from when the generator, which may be late, in fact sent the packet.")
	for name, part := range report.Idle {
		fmt.Printf("  %s, without traffic: %.2f %% of a CPU\n", name, 100*part)
	}
	fmt.Print(report.noise)
}

func micros(us float64) string { return strconv.FormatFloat(us, 'f', 1, 64) }

func parsePercents(s string) (parts []float64, err error) {
	for _, f := range strings.Split(s, ",") {
		n, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil || n <= 0 || n > 100 {
			return nil, fmt.Errorf("%q is not a percentage above 0 and up to 100", f)
		}
		parts = append(parts, n/100)
	}
	return parts, nil
}

// time makes the forwarder's sinks time packets from now on.
func (f *forwarder) time() (latencies, error) {
	l, err := newLatencies()
	if err != nil {
		return l, err
	}
	for _, k := range f.sinks {
		if err := k.use(k.timed(l)); err != nil {
			return l, errors.Join(err, l.close())
		}
	}
	return l, nil
}

// latency sends packets at a rate and returns how long they took.
func (f *forwarder) latency(l latencies, rate float64, d time.Duration, w waiting) (latencyResult, error) {
	r := latencyResult{Name: f.kind.name, Rate: rate}
	dueBefore, sentBefore, err := l.read()
	if err != nil {
		return r, err
	}
	n := uint64(rate * d.Seconds())
	if err := f.source.schedule(n, rate, w); err != nil {
		return r, err
	}
	time.Sleep(rest) // the last are on their way, and the generator's CPU is left to others
	due, sent, err := l.read()
	if err != nil {
		return r, err
	}
	due, sent = due.sub(dueBefore), sent.sub(sentBefore)
	if due.total() == 0 {
		return r, fmt.Errorf("nothing of %d packets came back; it printed:\n%s", n, f.output())
	}
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	r.P50, r.P99, r.P999, r.Max = us(due.quantile(0.5)), us(due.quantile(0.99)), us(due.quantile(0.999)), us(due.highest())
	r.SentP50, r.SentP99, r.SentP999 = us(sent.quantile(0.5)), us(sent.quantile(0.99)), us(sent.quantile(0.999))
	r.Lost = 1 - float64(due.total())/float64(n)
	return r, nil
}

// idleCPU is the part of a CPU that the forwarder's process takes while nothing comes.
func (f *forwarder) idleCPU(ctx context.Context, d time.Duration) (float64, error) {
	time.Sleep(500 * time.Millisecond) // the start is over
	before, err := runTime(f.process.Pid())
	if err != nil {
		return 0, err
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-time.After(d):
	}
	after, err := runTime(f.process.Pid())
	return float64(after-before) / float64(time.Since(start)), err
}

// waiting is how the generator passes the time until the next packet is due.
type waiting bool

const (
	spinning waiting = false // to the point: its CPU does nothing else meanwhile
	sleeping waiting = true  // some 25 µs at a time: its CPU does other things too
)

// rest after a measurement: the kernel throttles real-time threads that take more than 95 % of a CPU over a second.
const rest = 30 * time.Millisecond

// nap is how long a sleeping generator sleeps: packets due meanwhile go out together.
const nap = 25 * time.Microsecond

// gap is how long after a run of the generator's program the next one begins at the earliest: packets due meanwhile go out
// together. The kernel makes a page pool for each run, has numbers for 65534, and takes a second to remove one whose pages
// are still on their way.
const gap = 25 * time.Microsecond

// schedule sends n packets, number i due at start + i/rate, each stamped with that time however late the generator is: what
// makes the generator late counts as latency, and no packet is left out for it.
func (s *source) schedule(n uint64, rate float64, w waiting) error {
	return s.generate(func() (err error) {
		if err := setScheduler(schedFIFO, 1); err != nil { // before all others
			return err
		}
		defer func() { err = errors.Join(err, setScheduler(schedOther, 0)) }()
		now := monotonic()
		c := sourceClock{Start: uint64(now + time.Millisecond), Interval: uint64(float64(time.Second) / rate)}
		if err := s.clock.Put(uint32(0), c); err != nil {
			return fmt.Errorf("set the generator's clock: %w", err)
		}
		next := c.Start
		for sent := uint64(0); sent < n; {
			now := uint64(monotonic())
			due := uint64(0)
			if now >= next {
				due = min((now-c.Start)/c.Interval+1, n) - sent
			}
			if due == 0 {
				if w == sleeping {
					t := unix.NsecToTimespec(int64(nap))
					_ = unix.Nanosleep(&t, nil)
				}
				continue
			}
			due = min(due, 64)
			if err := s.offer(uint32(due)); err != nil {
				return err
			}
			sent += due
			next = now + uint64(gap)
		}
		return nil
	})
}

// monotonic is the clock of bpf_ktime_get_ns.
func monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail
	return time.Duration(t.Nano())
}

// Scheduling policies of linux/sched.h.
const (
	schedOther = 0
	schedFIFO  = 1
)

// setScheduler sets the calling thread's policy.
func setScheduler(policy, priority uint32) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("set the generator's scheduling policy: %w", err)
	}
	return nil
}
