package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fastlb/fastlb/bench"
	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/worker"
)

func newBench(e *env) *cobra.Command {
	o := bench.Defaults()
	huge, cpus, write, compare, profile := "auto", "", "", "", ""
	stages, failAbove := true, 0.0
	c := &cobra.Command{
		Use:   "bench",
		Short: "ns per packet and packets per second of the dataplane on this machine, with no NIC",
		Long: `Measures the real worker on memory rings, from a descriptor on the RX ring to a descriptor on the TX ring, for
every combination of what the flags list. Beside each figure stands what a bare memory miss costs over an area as
large as the connection table (a dependent load at random, in the same pages), and what a bare forwarder on the same
rings takes, which swaps MAC addresses and does nothing else: the ratios travel between machines.

Workers are pinned, and their time counts only while all of them work. Packets come to them as a NIC spreads them: a
connection's to one worker, its replies to one that need not be the same. Making the packets is not timed.

Columns: ns/packet is a worker's, Mpps (millions of packets a second) that of all workers, scaling how many times that
of one worker, measured in the same run; each ratio is to what stands before it; allocs is heap allocations a packet,
B/conn the table's bytes a connection, RSS/conn those by which the process grew, frames apart.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			var err error
			if o.HugePages, err = numa.ParseHugePages(huge); err != nil {
				return usagef("%w", err)
			}
			if cpus != "" {
				list, err := numa.ParseCPUs(cpus)
				if err != nil {
					return usagef("%w", err)
				}
				o.CPUs = list
			}
			o.Progress = func(done string) { fmt.Fprintf(e.stderr, "\r\x1b[K%s", done) }
			if !isTerminal(e.stderr) {
				o.Progress = nil
			}
			var before *bench.Report
			if compare != "" {
				if before, err = bench.Load(compare); err != nil {
					return fmt.Errorf("--compare: %w", err)
				}
			}
			if err := o.Check(); err != nil {
				return usagef("bench: %w", err)
			}
			if failAbove != 0 && (before == nil || failAbove < 1) {
				return usagef("bench: --fail-above takes a factor of at least 1, and --compare FILE beside it")
			}
			stop, err := startProfile(profile)
			if err != nil {
				return fmt.Errorf("--cpuprofile: %w", err)
			}
			r, err := bench.Run(o)
			if err2 := stop(); err == nil && err2 != nil {
				err = fmt.Errorf("--cpuprofile: %w", err2)
			}
			if o.Progress != nil {
				fmt.Fprint(e.stderr, "\r\x1b[K")
			}
			if err != nil {
				return err
			}
			if err := r.Check(); err != nil {
				return fmt.Errorf("bench: the report is wrong: %w", err)
			}
			if write != "" {
				if err := r.Write(write); err != nil {
					return fmt.Errorf("--write: %w", err)
				}
			}
			var rows []bench.Row
			if before != nil {
				rows = r.Compare(before)
			}
			err = e.print(r, func(w io.Writer) {
				printBench(w, r)
				if stages {
					printStages(w, r)
				}
				if before != nil {
					printComparison(w, rows, compare)
				}
			})
			if err == nil && failAbove > 0 {
				err = bench.Exceeds(rows, failAbove)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Methods, "methods", o.Methods, "forwarding `METHODS`")
	f.IntSliceVar(&o.Families, "families", o.Families, "IP `FAMILIES`")
	f.IntSliceVar(&o.Connections, "connections", o.Connections, "`NUMBERS` of connections in the table")
	f.StringSliceVar(&o.Kinds, "kinds", o.Kinds, "`KINDS` of packets: of established connections, or the first of new ones")
	f.StringSliceVar(&o.Schedulers, "schedulers", o.Schedulers, "`SCHEDULERS` of new connections")
	f.IntSliceVar(&o.Servers, "servers", o.Servers, "`NUMBERS` of real servers")
	f.IntSliceVar(&o.Workers, "workers", o.Workers, "`NUMBERS` of workers side by side, each on a CPU of its own")
	f.IntVar(&o.Services, "services", o.Services, "`NUMBER` of virtual services: worker i gets the packets of service i modulo this")
	f.StringVar(&o.Spread, "spread", o.Spread, "how packets come to the workers: `HOW` is rss (as a NIC spreads them) or shared (any to any)")
	f.IntVar(&o.Repeat, "repeat", o.Repeat, "`TIMES` that everything is measured; medians are reported")
	f.IntVar(&o.Batch, "batch", o.Batch, fmt.Sprintf("packets a round, 1-%d", worker.MaxBatch))
	f.DurationVar(&o.Duration, "duration", o.Duration, "`TIME` of each measurement")
	f.StringVar(&huge, "hugepages", huge, "auto, off or required")
	f.StringVar(&write, "write", "", "write the JSON to `FILE` too")
	f.StringVar(&compare, "compare", "", "show what has become slower or faster since the report in `FILE`")
	f.Float64Var(&failAbove, "fail-above", 0, "with --compare: exit with status 1 if a ratio is more than `FACTOR` times what it was")
	f.BoolVar(&stages, "stages", stages, "show where each nanosecond goes")
	f.StringVar(&profile, "cpuprofile", "", "write a CPU profile of it all to `FILE`, for go tool pprof and for building with (make pgo)")
	f.StringVar(&cpus, "cpus", "", "`LIST` of CPUs to pin the workers to, such as 2-5,8")
	return c
}

// startProfile begins a CPU profile that stop ends and writes; with no file it does nothing.
func startProfile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// printBench writes the report as a table.
func printBench(out io.Writer, r *bench.Report) {
	m := r.Machine
	fmt.Fprintf(out, "%s, %d CPUs, Linux %s, %s, transparent huge pages %s\n\n", m.CPU, m.CPUs, m.Kernel, m.Go, m.HugePages)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, rowHead+"ns/packet\tMpps\tscaling\tmiss ns\tratio\tbare ns\tratio\tallocs\tB/conn\tRSS/conn\t")
	for i := range r.Results {
		v := &r.Results[i]
		rss := "-"
		if v.RSSPer > 0 {
			rss = fmt.Sprintf("%.1f", v.RSSPer)
		}
		fmt.Fprintf(w, "%s%.1f\t%.2f\t%.2f\t%.1f\t%.2f\t%.1f\t%.1f\t%.2g\t%.1f\t%s\t\n", rowName(v), v.NSPerPacket, v.MPPS, v.Scaling, v.MissNS,
			v.RatioMiss, v.BareNS, v.RatioBare, v.Allocs, v.BytesPer, rss)
	}
	_ = w.Flush()
}

// rowHead and rowName are the columns that say what a row is about.
const rowHead = "method\tfamily\tconnections\tkind\tscheduler\tservers\tworkers\t"

func rowName(v *bench.Result) string {
	return fmt.Sprintf("%s\tIPv%d\t%d\t%s\t%s\t%d\t%d\t", v.Method, v.Family, v.Connections, v.Kind, v.Scheduler, v.Servers, v.Workers)
}

// printStages writes where each nanosecond goes.
func printStages(out io.Writer, r *bench.Report) {
	fmt.Fprint(out, "\nwhere each nanosecond goes, by the stage clock:\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, rowHead+strings.Join(stageNames(), "\t")+"\ttogether\tns/packet\t")
	for i := range r.Results {
		v := &r.Results[i]
		fmt.Fprint(w, rowName(v))
		sum := 0.0
		for _, s := range stageNames() {
			sum += v.Stages[s]
			fmt.Fprintf(w, "%.1f\t", v.Stages[s])
		}
		fmt.Fprintf(w, "%.1f\t%.1f\t\n", sum, v.NSPerPacket)
	}
	_ = w.Flush()
}

// printComparison writes what became of the report in a file.
func printComparison(out io.Writer, rows []bench.Row, file string) {
	fmt.Fprintf(out, "\nbeside %s, by ns a packet over the memory miss, or over the bare forwarder where the table lies in the caches:\n\n", file)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, rowHead+"over\tratio\twas\ttimes\tverdict\t")
	for i := range rows {
		v := &rows[i]
		of := v.Now
		if of == nil {
			of = v.Was
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\t%s\t\n", rowName(of), v.By, number(v.Ratio(v.Now)), number(v.Ratio(v.Was)), number(v.Times), v.Verdict())
	}
	_ = w.Flush()
}

// number is a ratio with two digits behind the point, or a dash for none.
func number(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}

func stageNames() (names []string) {
	for s := range worker.Stages {
		names = append(names, s.String())
	}
	return names
}
