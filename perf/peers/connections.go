package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

// connectionReport is what a large table costs, in bytes of memory in RAM (RSS).
type connectionReport struct {
	Machine       machine       `json:"machine"`
	Connections   uint64        `json:"connections"`
	UMEM          int64         `json:"umem_bytes"`
	Director      int64         `json:"director_bytes"`       // the table full, nothing asked
	DirectorPeak  int64         `json:"director_peak_bytes"`  // while the table is listed
	PerConnection float64       `json:"bytes_per_connection"` // of the director's, without UMEM
	ClientPeak    int64         `json:"client_peak_bytes"`    // of ipvsadm -Lnc
	Lines         uint64        `json:"lines"`                // that it printed
	Took          time.Duration `json:"took"`                 // to list them
	Before        latencyResult `json:"latency_before"`       // of packets meanwhile
	During        latencyResult `json:"latency_while_listing"`
	FillTook      time.Duration `json:"fill_took"`
	Rate          float64       `json:"packets_a_second"`
}

func measureConnections(ctx context.Context, args []string) (err error) {
	o := newOptions("connections")
	n := o.Uint64("connections", 10_000_000, "connections in the table, 1000 to 100 million")
	rate := o.Float64("rate", 100_000, "packets a second meanwhile, 1000 to 1 million")
	if err := o.parse(args); err != nil {
		return err
	}
	if *n < 1000 || *n > 100_000_000 || *rate < 1000 || *rate > 1e6 {
		return errors.New("a flag is out of its range: see -h")
	}
	s, err := newSite(o.binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	d := director{poll: "adaptive", capacity: int(*n), timeout: "3h"}
	f, err := s.start(kind{"fastlb, NAT", 2, true, runFastlb(d)}, plan{flows: clientPorts, stamps: true})
	if err != nil {
		return err
	}
	r := connectionReport{Machine: thisMachine(), Rate: *rate}
	fmt.Printf("%s\nfastlb, NAT of two arms, a table of %d connections\n\n", r.Machine, *n)
	start := time.Now()
	if r.Connections, err = f.fill(ctx, *n-clientPorts); err != nil {
		return err
	}
	r.FillTook = time.Since(start)
	st, err := f.status(ctx)
	if err != nil {
		return err
	}
	r.UMEM = st.umemBytes()
	if r.Director, err = residentBytes(f.process.Pid()); err != nil {
		return err
	}
	r.PerConnection = float64(r.Director-r.UMEM) / float64(r.Connections)
	l, err := f.time()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if r.Before, err = f.latency(l, *rate, time.Second, sleeping); err != nil {
		return err
	}
	if err := f.list(ctx, s.binary, l, *rate, &r); err != nil {
		return err
	}
	r.print()
	return writeJSON(o.write, r)
}

// list runs ipvsadm -Lnc while traffic flows, and watches both processes' memory.
func (f *forwarder) list(ctx context.Context, binary string, l latencies, rate float64, r *connectionReport) error {
	c := exec.CommandContext(ctx, binary, "ipvsadm", "-Lnc")
	c.Env = append(os.Environ(), "FASTLB_SOCKET="+f.socket)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := c.Start(); err != nil {
		return err
	}
	var listing atomic.Bool
	listing.Store(true)
	packets := make(chan error, 1)
	go func() { // until the list is complete
		var err error
		for first := true; listing.Load() && err == nil; first = false {
			var m latencyResult
			if m, err = f.latency(l, rate, time.Second, sleeping); err == nil && (first || m.SentP999 > r.During.SentP999) {
				r.During = m // the worst second
			}
		}
		packets <- err
	}()
	sampled := make(chan error, 1)
	go func() {
		var err error
		for listing.Load() && err == nil {
			for pid, peak := range map[int]*int64{f.process.Pid(): &r.DirectorPeak, c.Process.Pid: &r.ClientPeak} {
				if b, readErr := residentBytes(pid); readErr == nil {
					*peak = max(*peak, b)
				} else if pid == f.process.Pid() {
					err = readErr
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		sampled <- err
	}()
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		if _, err = lines.ReadSlice('\n'); err != nil {
			break
		}
		r.Lines++
	}
	err = c.Wait()
	r.Took = time.Since(start)
	listing.Store(false)
	if err = errors.Join(err, <-packets, <-sampled); err != nil {
		return err
	}
	r.Lines -= min(r.Lines, 2)                      // its heading
	if r.Lines < r.Connections-r.Connections/1000 { // those that end or begin meanwhile may be missing
		return fmt.Errorf("ipvsadm -Lnc listed %d of %d connections", r.Lines, r.Connections)
	}
	return nil
}

func (r connectionReport) print() {
	mib := func(b int64) string { return fmt.Sprintf("%.1f MiB", float64(b)/(1<<20)) }
	table(os.Stdout, [][]string{
		{"connections", fmt.Sprint(r.Connections)},
		{"made in", r.FillTook.Round(time.Millisecond).String()},
		{"director, RSS", mib(r.Director)},
		{"… without its packet memory (UMEM)", mib(r.Director - r.UMEM)},
		{"… a connection", fmt.Sprintf("%.1f bytes", r.PerConnection)},
		{"director's highest while listing", mib(r.DirectorPeak)},
		{"ipvsadm -Lnc's highest", mib(r.ClientPeak)},
		{"… listed", fmt.Sprint(r.Lines)},
		{"… in", r.Took.Round(time.Millisecond).String()},
		{fmt.Sprintf("packets at %.0f a second, p99.9", r.Rate), micros(r.Before.SentP999) + " µs"},
		{"… the worst second while listing", micros(r.During.SentP999) + " µs"},
		{"… lost", fmt.Sprintf("%.3f %%", 100*r.During.Lost)},
	})
}
