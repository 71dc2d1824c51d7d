package director

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/tune"
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
	id, cpu int
	node    int // that its memory comes from, -1: the kernel's choice
	queues  [][]int
	home    int // the CPU's node, -1: unknown
}

// wish is what the configuration says of the workers' places.
type wish struct {
	cpus []int  // empty: auto
	numa string // auto (as is ""), off or a node's number
}

// machine is what a process may have of a machine.
type machine struct {
	*numa.Topology
	allowed   numa.CPUs // that it runs on, unless it asks for others
	reachable numa.CPUs // that it may ask for
}

// plan says where the workers are.
type plan struct {
	seats    []seat
	nodes    []int          // that the connection table is to be spread over; none: the kernel's choice
	warnings []tune.Warning // wishes that cannot be met, and what costs speed
	advice   []string       // what an administrator could do better, or may not know
}

// place distributes the queues: worker i owns the i-th queue of every NIC, so that each worker can send on each; where a
// NIC has more queues than others, the surplus goes to the workers in turn. An error is a wish that contradicts the
// machine or itself.
func place(nics []nic, w wish, m machine) (p plan, err error) {
	if len(nics) == 0 {
		return p, errors.New("no interface: name one in the configuration or with --interface")
	}
	narrowest := &nics[0]
	for i := range nics {
		if len(nics[i].queues) == 0 {
			return p, fmt.Errorf("interface %s: no queue is to be used", nics[i].name)
		}
		if len(nics[i].queues) < len(narrowest.queues) {
			narrowest = &nics[i]
		}
	}
	node, err := p.node(nics, w, m)
	if err != nil {
		return p, err
	}
	var chosen []int
	if len(w.cpus) > 0 {
		chosen, err = w.cpus, p.check(w, m, node)
	} else {
		chosen, err = p.choose(nics, w, m, node)
	}
	if err != nil {
		return p, err
	}
	n := min(len(narrowest.queues), len(chosen))
	if n == 0 {
		return p, errors.New("no CPU is left for a worker")
	}
	if len(w.cpus) > n {
		p.advise("workers.cpus: %d CPUs, but %s has %d queues: CPUs %s stay without a worker",
			len(chosen), narrowest.name, n, numa.CPUs(chosen[n:]))
	}
	for i := range nics {
		if have := len(nics[i].queues); have > n && n < len(chosen) {
			p.advise("%s has %d queues, but %s %d: there are %d workers; with as many there could be more (`ethtool -L %[3]s combined N`)",
				nics[i].name, have, narrowest.name, len(narrowest.queues), n)
			break
		} else if have > n {
			p.advise("%s has %d queues for %d workers, which serve several each; one each is faster (`ethtool -L %[1]s combined %[3]d`)",
				nics[i].name, have, n)
		}
	}
	for i := range n {
		p.seats = append(p.seats, seatOf(i, chosen[i], nics, n, w, m))
	}
	p.look(nics, w, m)
	return p, nil
}

// seatOf is the place of worker id of n.
func seatOf(id, cpu int, nics []nic, n int, w wish, m machine) seat {
	s := seat{id: id, cpu: cpu, home: m.NodeOf(cpu), node: -1, queues: make([][]int, len(nics))}
	if w.numa != "off" {
		s.node = m.MemoryNode(s.home)
	}
	for j := range nics {
		for k := id; k < len(nics[j].queues); k += n {
			s.queues[j] = append(s.queues[j], nics[j].queues[k])
		}
	}
	return s
}

// node is the node that the configuration names, -1 if none.
func (p *plan) node(nics []nic, w wish, m machine) (int, error) {
	if w.numa == "" || w.numa == "auto" || w.numa == "off" {
		return -1, nil
	}
	node, err := strconv.Atoi(w.numa)
	if err != nil {
		return -1, fmt.Errorf("workers.numa: %q is not auto, off or a node's number", w.numa)
	}
	if !m.Has(node) {
		var have numa.CPUs
		for _, n := range m.Nodes {
			have = append(have, n.Number)
		}
		return -1, fmt.Errorf("workers.numa: there is no node %d: this machine has %s", node, have)
	}
	return node, nil
}

// check looks at the CPUs that the configuration names.
func (p *plan) check(w wish, m machine, node int) error {
	var errs []error
	refuse := func(why string, bad func(cpu int) bool) {
		var list numa.CPUs
		for _, c := range w.cpus {
			if bad(c) {
				list = append(list, c)
			}
		}
		switch {
		case len(list) == 1:
			errs = append(errs, fmt.Errorf("workers.cpus: CPU %s is "+why, list))
		case len(list) > 1:
			errs = append(errs, fmt.Errorf("workers.cpus: CPUs %s are "+why, list))
		}
	}
	online := func(c int) bool { return m.Online.Contains(c) }
	reachable := func(c int) bool { return online(c) && m.reachable.Contains(c) }
	refuse(fmt.Sprintf("not online: %s are", m.Online), func(c int) bool { return !online(c) })
	refuse(fmt.Sprintf("outside of this process's cpuset, which has %s (cpuset.cpus of its cgroup; AllowedCPUs= of a systemd unit)",
		m.reachable), func(c int) bool { return online(c) && !reachable(c) })
	refuse(fmt.Sprintf("none that this process may run on, which are %s (taskset; CPUAffinity= of a systemd unit)", m.allowed),
		func(c int) bool { return reachable(c) && !m.allowed.Contains(c) && !m.Isolated.Contains(c) })
	if node >= 0 {
		refuse(fmt.Sprintf("not on node %d, which workers.numa names and which has %s", node, m.CPUs(node)),
			func(c int) bool { return online(c) && m.NodeOf(c) != node })
	}
	for i, c := range w.cpus {
		core := m.Core(c)
		if slices.ContainsFunc(w.cpus[:i], core.Contains) {
			p.advise("workers.cpus: CPUs %s are threads of one core, which their workers will share", core)
		}
	}
	return errors.Join(errs...)
}

// choose orders the CPUs that workers are to have where the configuration leaves it open: those of the NICs' nodes, in
// the NICs' order; of each core one thread before any core's second; and the machine's first CPU, where interrupts and
// the rest of the system like to be, last of all.
func (p *plan) choose(nics []nic, w wish, m machine, node int) ([]int, error) {
	if apart := within(m.Isolated, m.reachable); len(apart) > 0 && !slices.ContainsFunc(apart, m.allowed.Contains) {
		p.advise("CPUs %s are isolated (isolcpus) and stay without a worker: name them in workers.cpus", apart)
	}
	var nodes []int
	switch {
	case node >= 0:
		nodes = []int{node}
	case w.numa != "off":
		for _, n := range nics {
			if m.Has(n.node) && !slices.Contains(nodes, n.node) {
				nodes = append(nodes, n.node)
			}
		}
	}
	list := slices.DeleteFunc(slices.Clone([]int(m.allowed)), func(c int) bool {
		return len(nodes) > 0 && !slices.Contains(nodes, m.NodeOf(c))
	})
	if len(list) == 0 && node >= 0 {
		return nil, fmt.Errorf("workers.numa: node %d has no CPU that this process may run on: its are %s, the process may have %s",
			node, m.CPUs(node), m.allowed)
	}
	if len(list) == 0 {
		list = slices.Clone([]int(m.allowed))
	}
	// thread is a CPU's number among the threads of its core: the machine's first CPU is its core's last.
	thread := func(cpu int) (n int) {
		for _, c := range m.Core(cpu) {
			if c != cpu && slices.Contains(list, c) && (c < cpu && c != 0 || cpu == 0) {
				n++
			}
		}
		return n
	}
	rank := func(cpu int) []int {
		first := 0
		if m.Core(cpu).Contains(0) {
			first = 1
		}
		near := slices.Index(nodes, m.NodeOf(cpu))
		if len(nodes) == 0 {
			near = m.NodeOf(cpu)
		}
		return []int{thread(cpu), near, first, cpu}
	}
	slices.SortFunc(list, func(a, b int) int { return slices.Compare(rank(a), rank(b)) })
	return list, nil
}

// look notes what the places cost, and where the table belongs.
func (p *plan) look(nics []nic, w wish, m machine) {
	if w.numa == "off" {
		return
	}
	var poor []int // nodes without memory
	for _, s := range p.seats {
		if s.node >= 0 && !slices.Contains(p.nodes, s.node) {
			p.nodes = append(p.nodes, s.node)
		}
		if s.node != s.home && !slices.Contains(poor, s.home) {
			poor = append(poor, s.home)
			p.warn(fmt.Sprintf("memory of node %d", s.home), "it has none: its workers' frames come from node %d", s.node)
		}
	}
	slices.Sort(p.nodes)
	for _, n := range nics {
		if n.node < 0 {
			continue
		}
		var far numa.CPUs
		var nodes []string
		for _, s := range p.seats {
			if s.home >= 0 && s.home != n.node {
				far = append(far, s.cpu)
				if t := strconv.Itoa(s.home); !slices.Contains(nodes, t) {
					nodes = append(nodes, t)
				}
			}
		}
		if len(far) > 0 {
			slices.Sort(far)
			p.warn("node of "+n.name, "it is on node %d, but workers on CPUs %s are on node %s: what passes between them crosses nodes; "+
				"node %[1]d has CPUs %[4]s", n.node, far, strings.Join(nodes, ","), m.CPUs(n.node))
		}
	}
}

// within is what two sets have in common.
func within(a, b numa.CPUs) (both numa.CPUs) {
	for _, c := range a {
		if b.Contains(c) {
			both = append(both, c)
		}
	}
	return both
}

func (p *plan) warn(subject, format string, args ...any) {
	p.warnings = append(p.warnings, tune.Warning{Subject: subject, Text: fmt.Sprintf(format, args...)})
}

func (p *plan) advise(format string, args ...any) {
	p.advice = append(p.advice, fmt.Sprintf(format, args...))
}
