package director

import (
	"fmt"
	"slices"

	"github.com/fastlb/fastlb/numa"
)

// nic is an interface that gets sockets.
type nic struct {
	name   string
	index  int   // the kernel's
	queues []int // ascending
	node   int   // NUMA node, -1: unknown
}

// seat is a worker's place: its CPU and the queues it owns, by NIC in the order of the NICs.
type seat struct {
	id, cpu, node int
	queues        [][]int
}

// seats distributes the queues: worker i owns the i-th queue of every NIC, so that each worker can send on each; where a
// NIC has more queues than others, the surplus goes to the workers in turn. cpus is the configuration's list, empty for
// one worker a queue on the NICs' node, as far as the allowed CPUs go.
func seats(nics []nic, cpus []int, allowed numa.CPUs, topology *numa.Topology) (_ []seat, warnings []string, err error) {
	if len(nics) == 0 {
		return nil, nil, fmt.Errorf("no interface: name one in the configuration or with --interface")
	}
	n := len(nics[0].queues)
	narrowest := nics[0].name
	for _, c := range nics {
		if len(c.queues) == 0 {
			return nil, nil, fmt.Errorf("interface %s: no queue is to be used", c.name)
		}
		if len(c.queues) < n {
			n, narrowest = len(c.queues), c.name
		}
	}
	chosen := cpus
	if len(cpus) == 0 {
		chosen = near(nics, allowed, topology)
	} else {
		for _, c := range cpus {
			if !allowed.Contains(c) {
				return nil, nil, fmt.Errorf("workers.cpus: CPU %d is not one that this process may run on (%s)", c, allowed)
			}
		}
		if len(cpus) > n {
			warnings = append(warnings, fmt.Sprintf("workers.cpus: %d CPUs, but %s has %d queues: CPUs %s stay without a worker",
				len(cpus), narrowest, n, numa.CPUs(cpus[n:])))
		}
	}
	n = min(n, len(chosen))
	if n == 0 {
		return nil, nil, fmt.Errorf("no CPU is left for a worker")
	}
	out := make([]seat, n)
	for i := range out {
		out[i] = seat{id: i, cpu: chosen[i], node: topology.NodeOf(chosen[i]), queues: make([][]int, len(nics))}
		for j, c := range nics {
			for k := i; k < len(c.queues); k += n {
				out[i].queues[j] = append(out[i].queues[j], c.queues[k])
			}
		}
	}
	return out, warnings, nil
}

// near orders the allowed CPUs: those on the NICs' node first, and the machine's first CPU, where interrupts and the rest
// of the system like to be, last.
func near(nics []nic, allowed numa.CPUs, topology *numa.Topology) []int {
	node := -1
	for _, c := range nics {
		if c.node >= 0 {
			node = c.node
			break
		}
	}
	list := slices.Clone([]int(allowed))
	rank := func(cpu int) int {
		r := 0
		if node >= 0 && topology.NodeOf(cpu) != node {
			r += 2
		}
		if cpu == 0 {
			r++
		}
		return r
	}
	slices.SortStableFunc(list, func(a, b int) int { return rank(a) - rank(b) })
	return list
}
