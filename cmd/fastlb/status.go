package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastlb/fastlb/api"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/service"
)

// statusOutput is what `fastlb status --output json` prints.
type statusOutput struct {
	director.Status
	Table []api.Service `json:"table"`
}

func newStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "a snapshot: workers, queues, services, rates",
		Long: `Prints a snapshot of the running director. For each real server it says what its active connections are made of: how
many were heard from in the last 10 seconds, in the last minute, and not for longer, and how many sit in SYN_RECV
without a reply seen. For that the director reads its whole connection table, without holding up a packet.`,
		RunE: func(*cobra.Command, []string) error {
			c := api.NewClient(e.socket)
			s, err := c.Status()
			if err != nil {
				return err
			}
			list, err := c.Ages()
			if err != nil {
				return err
			}
			return e.print(statusOutput{s, api.Show(list)}, func(w io.Writer) { printStatus(w, &s, list) })
		},
	}
}

// printStatus writes the snapshot for people: the director, its interfaces, its workers, where packets were lost, the
// services.
func printStatus(out io.Writer, s *director.Status, list []control.ServiceEntry) {
	t := s.Total()
	fmt.Fprintf(out, "fastlb %s, process %d, running for %s", s.Version, s.PID, s.Now.Sub(s.Started).Round(time.Second))
	if s.Config != "" {
		fmt.Fprintf(out, ", %s", s.Config)
	}
	fmt.Fprintf(out, "\nflows %s of %s (%s, %s pages", count(s.Flows.Entries), count(s.Flows.Capacity), size(s.Flows.Bytes), s.Flows.Pages)
	if s.Flows.State != "" {
		fmt.Fprintf(out, ", %s", s.Flows.State)
	}
	fmt.Fprint(out, ")")
	if s.Flows.Refused > 0 {
		fmt.Fprintf(out, ", %s REFUSED", count(s.Flows.Refused))
	}
	fmt.Fprintln(out)
	for _, w := range s.Warnings {
		fmt.Fprintf(out, "WARNING %s\n", w)
	}

	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "\nInterface\tMode\tDriver\tQueues\tMTU\tMAC\t\n")
	for _, f := range s.Interfaces {
		note := ""
		if !f.Up {
			note = "DOWN"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", f.Name, f.Mode, f.Driver, numbers(f.Queues), f.MTU, f.MAC, note)
	}
	w.Flush()

	fmt.Fprintf(w, "\nWorker\tCPU\tPoll\tQueue\tIn\tOut\tBusy\tLost at the ring\n")
	for _, k := range s.Workers {
		cpu := strconv.Itoa(k.CPU)
		if k.CPU < 0 {
			cpu = "-"
		}
		for i, q := range k.Queues {
			head := fmt.Sprintf("%d\t%s\t%s", k.ID, cpu, k.Poll)
			busy := fmt.Sprintf("%.0f %%", 100*k.Busy)
			if i > 0 {
				head, busy = "\t\t", ""
			}
			fmt.Fprintf(w, "%s\t%s:%d\t%s\t%s\t%s\t%s\n", head, q.Interface, q.Queue, count(q.RXPackets), count(q.TXPackets), busy, lost(&q))
		}
	}
	w.Flush()
	printReasons(out, "Dropped", t.Drops)
	printReasons(out, "Left to the kernel", t.Passes)

	fmt.Fprintf(w, "\nService\tScheduler\tConns\tIn\tOut\tConns/s\tPackets/s\tBits/s\n")
	for i := range list {
		e := &list[i]
		fmt.Fprintf(w, "%s\t%s\t%s\n", e.Spec.ID, cmp.Or(e.Spec.Scheduler, service.None), figures(e.Stats, e.Rates))
		for j := range e.Servers { // forwarding method, weight, active + inactive connections
			d := &e.Servers[j]
			fmt.Fprintf(w, "  %s\t%s w%d %d+%d\t%s\n", d.Spec.ServerID, d.Spec.Method, d.Spec.Weight, d.Active, d.Inactive, figures(d.Stats, d.Rates))
		}
	}
	if len(list) == 0 {
		fmt.Fprintf(w, "none: `fastlb ipvsadm -A` makes one\n")
	}
	w.Flush()
	printAges(out, list)
}

// printAges says what the active connections are made of.
func printAges(out io.Writer, list []control.ServiceEntry) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "Active connections\tAll\tHeard within 10 s\tWithin 60 s\tLonger ago\tSYN_RECV, no reply seen\n")
	rows, waiting := 0, false
	for i := range list {
		e := &list[i]
		for j := range e.Servers {
			d := &e.Servers[j]
			a := d.Ages
			if a == nil || d.Active == 0 && *a == (control.Ages{}) {
				continue
			}
			sum := a.Recent + a.Minute + a.Longer
			fmt.Fprintf(w, "%s → %s\t%s\t%s\t%s\t%s\t%s\n", e.Spec.ID, d.Spec.ServerID, count(uint64(sum)), count(uint64(a.Recent)),
				count(uint64(a.Minute)), count(uint64(a.Longer)), count(uint64(a.Waiting)))
			rows++
			waiting = waiting || d.Spec.Method == service.NAT && a.Waiting > 10 && 10*a.Waiting > sum
		}
	}
	if rows == 0 {
		return
	}
	fmt.Fprintln(out)
	w.Flush()
	if waiting {
		fmt.Fprintln(out, "Many connections wait for an answer: is the server up, and does its way back to the clients lead through the director?")
	}
}

// figures are the columns of a service or server: counts, then both directions' rates together.
func figures(stats, rates service.Stats) string {
	return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", count(stats.Conns), count(stats.InPkts), count(stats.OutPkts),
		count(rates.Conns), count(rates.InPkts+rates.OutPkts), count(8*(rates.InBytes+rates.OutBytes)))
}

// printReasons writes a list of packets by reason, the most frequent first.
func printReasons(out io.Writer, title string, reasons map[string]uint64) {
	if len(reasons) == 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(reasons[b], reasons[a]), strings.Compare(a, b))
	})
	var parts []string
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s %s", k, count(reasons[k])))
	}
	fmt.Fprintf(out, "\n%s: %s\n", title, strings.Join(parts, ", "))
}

// lost says what the kernel dropped at a socket.
func lost(q *director.QueueStatus) string {
	var parts []string
	for _, p := range []struct {
		n    uint64
		what string
	}{{q.RXRingFull, "worker late"}, {q.FillRingEmpty, "no free frame"}, {q.RXDropped, "other"}, {q.TXRingFull, "TX ring full"}} {
		if p.n > 0 {
			parts = append(parts, p.what+" "+count(p.n))
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// count writes a number with a letter for thousands, as ipvsadm's columns do, from a hundred thousand on.
func count(n uint64) string {
	switch {
	case n < 100_000:
		return strconv.FormatUint(n, 10)
	case n < 10_000_000:
		return fmt.Sprintf("%.1fk", float64(n)/1e3)
	case n < 10_000_000_000:
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1fG", float64(n)/1e9)
}

func size(n uint64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

func numbers(list []int) string {
	var parts []string
	for _, n := range list {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ",")
}
