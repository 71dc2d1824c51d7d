package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
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
without a reply seen. A server's "Scheduler" is its forwarding method, its Active and Inactive connections are those of
ipvsadm -L; the other columns are totals, and rates a second of both directions together. For the ages the director reads its whole connection table, without holding up a packet.`,
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
	fmt.Fprintf(out, "\nflows %s of %s", count(s.Flows.Entries), count(s.Flows.Capacity))
	if s.Flows.Refused > 0 {
		fmt.Fprintf(out, ", %s REFUSED", count(s.Flows.Refused))
	}
	fmt.Fprintf(out, ", %s in pages of %s", size(s.Flows.Bytes), s.Flows.Pages)
	if s.Flows.State != "" {
		fmt.Fprintf(out, ", %s", s.Flows.State)
	}
	fmt.Fprintln(out)
	for _, w := range s.Warnings {
		fmt.Fprintf(out, "WARNING %s\n", w)
	}

	for _, w := range s.Workers {
		if w.Memory.Missing != 0 {
			fmt.Fprintf(out, "WARNING worker %d: %d of %d frames are nowhere: please report it\n", w.ID, w.Memory.Missing, w.Frames)
		}
	}

	nics := table{align: "llllrrll"}
	nics.row("Interface", "Mode", "Driver", "Queue numbers", "MTU", "Longest packet", "MAC")
	for _, f := range s.Interfaces {
		note := ""
		switch {
		case f.MAC == "":
			note = "GONE"
		case !f.Up:
			note = "DOWN"
		}
		nics.row(f.Name, f.Mode, f.Driver, numbers(f.Queues), strconv.Itoa(f.MTU), strconv.Itoa(min(f.MTU, f.Longest)), f.MAC, note)
	}
	nics.print(out)
	for _, f := range s.Interfaces {
		if f.BusyPoll != "" {
			fmt.Fprintf(out, "busy polling of %s: %s\n", f.Name, f.BusyPoll)
		}
	}
	printGroups(out, s.Groups)

	workers := table{align: "rrllrrrl"}
	workers.row("Worker", "CPU", "Poll", "Queue", "Received", "Sent", "Busy", "Lost at the ring")
	for _, k := range s.Workers {
		cpu := strconv.Itoa(k.CPU)
		if k.CPU < 0 {
			cpu = "-"
		}
		id, poll, busy := strconv.Itoa(k.ID), k.Poll, fmt.Sprintf("%.0f %%", 100*k.Busy)
		for _, q := range k.Queues {
			workers.row(id, cpu, poll, fmt.Sprintf("%s:%d", q.Interface, q.Queue), count(q.RXPackets), count(q.TXPackets), busy, lost(&q))
			id, cpu, poll, busy = "", "", "", ""
		}
	}
	workers.print(out)
	printPlacement(out, s.Placement)
	printSyscalls(out, &t)
	printReasons(out, "Dropped", t.Drops)
	printReasons(out, "Left to the kernel", t.Passes)
	printServices(out, list)
	printAges(out, list)
}

// printPlacement writes where each queue is handled: its NIC's node, its interrupts with the CPUs that take them and those
// CPUs' node, its worker with the CPU and node that it runs on.
func printPlacement(out io.Writer, list []director.QueuePlace) {
	if len(list) == 0 {
		return
	}
	w := table{align: "lrrrrrrr"}
	w.row("Queue", "NIC's node", "IRQ", "IRQ's CPU", "its node", "Worker", "Worker's CPU", "its node")
	for i := range list {
		p := &list[i]
		var irqs, cpus, nodes []string
		for _, irq := range p.IRQs {
			irqs = append(irqs, strconv.Itoa(irq.IRQ))
			cpus = append(cpus, cmp.Or(irq.CPUs, "-"))
			nodes = append(nodes, known(irq.Node))
		}
		w.row(fmt.Sprintf("%s:%d", p.Interface, p.Queue), known(p.Node), every(irqs), every(slices.Compact(cpus)), every(slices.Compact(nodes)),
			strconv.Itoa(p.Worker), known(p.CPU), known(p.CPUNode))
	}
	w.print(out)
}

// known writes a number of which negative ones mean that it is not known.
func known(n int) string {
	if n < 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// every writes a list, or that there is none.
func every(list []string) string { return cmp.Or(strings.Join(list, ","), "-") }

// printGroups says between which interfaces packets are copied.
func printGroups(out io.Writer, groups [][]string) {
	if len(groups) < 2 {
		return
	}
	var names []string
	for _, g := range groups {
		names = append(names, strings.Join(g, ", "))
	}
	fmt.Fprintf(out, "Packets are copied between %s: their drivers do not share frames\n", strings.Join(names, " and "))
}

// printServices writes the services and, indented, their servers, in the order in which LVS keeps them: a service's
// latest server is its first.
func printServices(out io.Writer, list []control.ServiceEntry) {
	if len(list) == 0 {
		fmt.Fprintf(out, "\nNo services: `fastlb ipvsadm -A` makes one\n")
		return
	}
	w := table{align: "llrrrrrrrrr"}
	w.row("Service", "Scheduler", "Weight", "Active", "Inactive", "Conns", "InPkts", "OutPkts", "Conns/s", "Packets/s", "Bits/s")
	for i := range list {
		e := &list[i]
		w.row(append([]string{e.Spec.ID.String(), cmp.Or(e.Spec.Scheduler, service.None), "", "", ""}, figures(e.Stats, e.Rates)...)...)
		for j := range e.Servers {
			d := &e.Servers[j]
			w.row(append([]string{"  " + d.Spec.ServerID.String(), "  " + d.Spec.Method.String(), strconv.Itoa(int(d.Spec.Weight)),
				count(uint64(d.Active)), count(uint64(d.Inactive))}, figures(d.Stats, d.Rates)...)...)
		}
	}
	w.print(out)
}

// printAges says what the active connections are made of.
func printAges(out io.Writer, list []control.ServiceEntry) {
	w := table{align: "lrrrrr"}
	w.row("Active connections", "All", "Heard within 10 s", "Within 60 s", "Longer ago", "SYN_RECV, no reply seen")
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
			w.row(fmt.Sprintf("%s → %s", e.Spec.ID, d.Spec.ServerID), count(uint64(sum)), count(uint64(a.Recent)),
				count(uint64(a.Minute)), count(uint64(a.Longer)), count(uint64(a.Waiting)))
			rows++
			waiting = waiting || d.Spec.Method == service.NAT && a.Waiting > 10 && 10*a.Waiting > sum
		}
	}
	if rows == 0 {
		return
	}
	w.print(out)
	if waiting {
		fmt.Fprintln(out, "Many connections wait for an answer: is the server up, and does its way back to the clients lead through the director?")
	}
}

// figures are the columns of a service or server: counts, then both directions' rates together.
func figures(stats, rates service.Stats) []string {
	return []string{count(stats.Conns), count(stats.InPkts), count(stats.OutPkts),
		count(rates.Conns), count(rates.InPkts + rates.OutPkts), count(8 * (rates.InBytes + rates.OutBytes))}
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

// printSyscalls says how often the workers called the kernel.
func printSyscalls(out io.Writer, t *director.WorkerStatus) {
	c := t.Syscalls
	sum := c.Send + c.Receive + c.Poll
	if sum == 0 {
		return
	}
	fmt.Fprintf(out, "\nSystem calls: send %s, receive %s, poll %s", count(c.Send), count(c.Receive), count(c.Poll))
	if t.RXPackets > 0 {
		fmt.Fprintf(out, "; %.3f a packet received", float64(sum)/float64(t.RXPackets))
	}
	if c.Again > 0 {
		fmt.Fprintf(out, "; %s broken off by the kernel", count(c.Again))
	}
	fmt.Fprintln(out)
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
