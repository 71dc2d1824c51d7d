package tune

import (
	"fmt"
	"slices"

	"github.com/fastlb/fastlb/numa"
)

// Queue is a queue that has a worker.
type Queue struct {
	Number int
	CPU    int // of its worker
	IRQs   []IRQ
}

// Aim is where an interrupt is to be handled.
type Aim struct {
	IRQ  IRQ
	CPUs numa.CPUs // one, unless the interrupt is shared by queues of several workers
}

// Affinities says where the interrupts of queues belong: on the CPU of the worker that empties the queue, so that the
// packet's headers are in that CPU's cache when the worker comes to it. Interrupts come in ascending order.
func Affinities(queues []Queue) []Aim {
	var list []Aim
	for _, q := range queues {
		if q.CPU < 0 {
			continue
		}
		for _, irq := range q.IRQs {
			i, found := slices.BinarySearchFunc(list, irq, func(a Aim, irq IRQ) int { return a.IRQ.Number - irq.Number })
			if !found {
				list = slices.Insert(list, i, Aim{IRQ: irq})
			}
			if cpus := list[i].CPUs; !cpus.Contains(q.CPU) {
				at, _ := slices.BinarySearch(cpus, q.CPU)
				list[i].CPUs = slices.Insert(cpus, at, q.CPU)
			}
		}
	}
	return list
}

// Spread says what an RSS indirection table is to be so that every packet reaches a queue that has a worker. A table
// that has only such queues stays: nil. taken is ascending. unserved are queues of taken that get nothing.
func Spread(table, taken []int) (next, unserved []int) {
	if len(table) == 0 || len(taken) == 0 {
		return nil, nil
	}
	foreign := slices.ContainsFunc(table, func(q int) bool { _, ok := slices.BinarySearch(taken, q); return !ok })
	result := table
	if foreign {
		next = make([]int, len(table))
		for i := range next {
			next[i] = taken[i%len(taken)]
		}
		result = next
	}
	for _, q := range taken {
		if !slices.Contains(result, q) {
			unserved = append(unserved, q)
		}
	}
	return next, unserved
}

// NIC is an interface of which some queues have workers.
type NIC struct {
	Name   string
	Driver string
	Total  int     // queues that it has
	Grown  bool    // the driver made some of these when it got the program
	Queues []Queue // those with a worker, ascending
	Table  []int   // RSS indirection; nil: the driver has none, or does not tell
}

// Plan is what is to be changed at a machine's NICs, and what cannot be had.
type Plan struct {
	Aims     []Aim
	Tables   map[string][]int // by interface
	Warnings []Warning
}

// Warning is something that an administrator should know.
type Warning struct{ Subject, Text string }

// Make plans. Without leave to change anything it only tells what is amiss.
func Make(nics []NIC, change bool) Plan {
	p := Plan{Tables: map[string][]int{}}
	var queues []Queue
	for i := range nics {
		n := &nics[i]
		queues = append(queues, n.Queues...)
		taken := make([]int, len(n.Queues))
		for j, q := range n.Queues {
			taken[j] = q.Number
		}
		next, unserved := Spread(n.Table, taken)
		switch {
		case len(n.Table) == 0 && len(taken) < n.Total && n.Grown:
			p.warn("RSS of "+n.Name, "packets that it sends to queues other than %s are lost: the driver (%s) made others for the program, %d in all, "+
				"and has no RSS table: give the interface as many before the start (`ethtool -L %s combined %[3]d`)",
				numbers(taken), n.Driver, n.Total, n.Name)
		case len(n.Table) == 0 && len(taken) < n.Total:
			p.warn("RSS of "+n.Name, "packets that it sends to queues other than %s are lost, for they have no worker, and the driver (%s) cannot be told: "+
				"take all %d queues (`queues: all`), or give it no more than are taken (`ethtool -L %s combined %d`)",
				numbers(taken), n.Driver, n.Total, n.Name, len(taken))
		case next != nil && !change:
			p.warn("RSS of "+n.Name, "packets that it sends to queues other than %s are lost, for they have no worker: `%s`",
				numbers(taken), WeightCommand(n.Name, taken, n.Total))
		case next != nil:
			p.Tables[n.Name] = next
		}
		if len(unserved) > 0 && (change || next == nil) {
			p.warn("RSS of "+n.Name+" is uneven", "queues %s get no packets by it: `%s`",
				numbers(unserved), WeightCommand(n.Name, taken, n.Total))
		}
	}
	if change {
		p.Aims = Affinities(queues)
	}
	return p
}

func (p *Plan) warn(subject, format string, args ...any) {
	p.Warnings = append(p.Warnings, Warning{subject, fmt.Sprintf(format, args...)})
}

// numbers writes queues as a list.
func numbers(queues []int) string { return numa.CPUs(queues).String() }

// WeightCommand is the command that spreads RSS over queues by hand.
func WeightCommand(name string, taken []int, total int) string {
	if len(taken) > 0 && len(taken) == taken[len(taken)-1]-taken[0]+1 {
		start := ""
		if taken[0] > 0 {
			start = fmt.Sprintf(" start %d", taken[0])
		}
		return fmt.Sprintf("ethtool -X %s%s equal %d", name, start, len(taken))
	}
	s := "ethtool -X " + name + " weight"
	for q := range total {
		w := 0
		if slices.Contains(taken, q) {
			w = 1
		}
		s += fmt.Sprintf(" %d", w)
	}
	return s
}
