package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fastlb/fastlb/bench"
	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/worker"
)

func newBench(e *env) *cobra.Command {
	o := bench.Defaults()
	huge, cpus, write, compare := "auto", "", "", ""
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
of one worker, measured in the same run; each ratio is to what stands before it; was is the first one in the report of
--compare; allocs is heap allocations a packet, B/conn the table's bytes a connection; the last five are the stages,
in ns a packet.`,
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
			r, err := bench.Run(o)
			if o.Progress != nil {
				fmt.Fprint(e.stderr, "\r\x1b[K")
			}
			if err != nil {
				return err
			}
			if write != "" {
				if err := r.Write(write); err != nil {
					return fmt.Errorf("--write: %w", err)
				}
			}
			return e.print(r, func(w io.Writer) { printBench(w, r, before) })
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
	f.StringVar(&compare, "compare", "", "show beside each ratio that of the report in `FILE`")
	f.StringVar(&cpus, "cpus", "", "`LIST` of CPUs to pin the workers to, such as 2-5,8")
	return c
}

// printBench writes the report as a table; before may be nil.
func printBench(out io.Writer, r, before *bench.Report) {
	m := r.Machine
	fmt.Fprintf(out, "%s, %d CPUs, Linux %s, %s, transparent huge pages %s\n\n", m.CPU, m.CPUs, m.Kernel, m.Go, m.HugePages)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "method\tfamily\tconnections\tkind\tscheduler\tservers\tworkers\tns/packet\tMpps\tscaling\tmiss ns\tratio\twas\tbare ns\tratio\tallocs\tB/conn\t"+strings.Join(stageNames(), "\t")+"\t")
	for i := range r.Results {
		v := &r.Results[i]
		was := "-"
		if before != nil {
			if b := before.Find(v); b != nil {
				was = fmt.Sprintf("%.2f", b.RatioMiss)
			}
		}
		fmt.Fprintf(w, "%s\tIPv%d\t%d\t%s\t%s\t%d\t%d\t%.1f\t%.2f\t%.2f\t%.1f\t%.2f\t%s\t%.1f\t%.1f\t%.2g\t%.0f\t", v.Method, v.Family, v.Connections, v.Kind,
			v.Scheduler, v.Servers, v.Workers, v.NSPerPacket, v.MPPS, v.Scaling, v.MissNS, v.RatioMiss, was, v.BareNS, v.RatioBare, v.Allocs, v.BytesPer)
		for _, s := range stageNames() {
			fmt.Fprintf(w, "%.1f\t", v.Stages[s])
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}

func stageNames() (names []string) {
	for s := range worker.Stages {
		names = append(names, s.String())
	}
	return names
}
