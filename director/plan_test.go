package director

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fastlb/fastlb/numa"
)

// topology makes a machine of nodes with these CPUs; threads is how many CPUs a core has, which are as far apart as there
// are cores.
func topology(t *testing.T, isolated string, memory string, threads int, nodes ...string) machine {
	t.Helper()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tree := fstest.MapFS{
		"devices/system/node/online":     file(fmt.Sprintf("0-%d", len(nodes)-1)),
		"devices/system/node/has_memory": file(memory),
		"devices/system/cpu/isolated":    file(isolated),
	}
	var all numa.CPUs
	for i, list := range nodes {
		tree[fmt.Sprintf("devices/system/node/node%d/cpulist", i)] = file(list)
		cpus := set(t, list)
		all = append(all, cpus...)
	}
	cores := len(all) / threads
	for c := range len(all) {
		var core numa.CPUs
		for k := range threads {
			core = append(core, c%cores+k*cores)
		}
		tree[fmt.Sprintf("devices/system/cpu/cpu%d/topology/core_cpus_list", c)] = file(core.String())
	}
	top, err := numa.ReadFrom(tree)
	if err != nil {
		t.Fatal(err)
	}
	m := machine{Topology: top, reachable: top.Online}
	for _, c := range top.Online {
		if !top.Isolated.Contains(c) {
			m.allowed = append(m.allowed, c)
		}
	}
	return m
}

func set(t *testing.T, list string) numa.CPUs {
	t.Helper()
	cpus, err := numa.ParseCPUs(list)
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

// card is a NIC with so many queues.
func card(name string, node, queues int) nic {
	n := nic{name: name, node: node}
	for q := range queues {
		n.queues = append(n.queues, q)
	}
	return n
}

// String writes a seat for tests: CPU (node of the CPU, of the memory): queues by NIC.
func (s seat) String() string { return fmt.Sprintf("%d(%d,%d):%v", s.cpu, s.home, s.node, s.queues) }

func TestPlace(t *testing.T) {
	one := topology(t, "", "0", 1, "0-3")
	two := topology(t, "", "0-1", 1, "0-3", "4-7")
	threads := topology(t, "", "0-1", 2, "0-1,4-5", "2-3,6-7") // 0 and 4 are one core
	apart := topology(t, "2-3", "0", 1, "0-3")
	poor := topology(t, "", "0", 1, "0-3", "4-7")
	confined := two
	confined.allowed, confined.reachable = set(t, "1-2"), set(t, "0-5")
	for _, c := range []struct {
		name     string
		nics     []nic
		wish     wish
		machine  machine
		want     string // seats
		nodes    []int
		warnings string
		advice   string
		err      string
	}{
		{name: "one node", machine: one, nics: []nic{card("a", 0, 2), card("b", 0, 2)}, want: "1(0,0):[[0] [0]] 2(0,0):[[1] [1]]", nodes: []int{0}},
		{name: "CPU 0 is the last", machine: one, nics: []nic{card("a", 0, 4)}, want: "1(0,0):[[0]] 2(0,0):[[1]] 3(0,0):[[2]] 0(0,0):[[3]]", nodes: []int{0}},
		{name: "unknown node", machine: two, nics: []nic{card("a", -1, 2)}, want: "1(0,0):[[0]] 2(0,0):[[1]]", nodes: []int{0}},
		{name: "unknown node, many queues", machine: two, nics: []nic{card("a", -1, 6)}, nodes: []int{0, 1},
			want: "1(0,0):[[0]] 2(0,0):[[1]] 3(0,0):[[2]] 0(0,0):[[3]] 4(1,1):[[4]] 5(1,1):[[5]]"},
		{name: "a node that is not there", machine: one, nics: []nic{card("a", 7, 1)}, want: "1(0,0):[[0]]", nodes: []int{0},
			warnings: "node of a: it is on node 7, but workers on CPUs 1 are on node 0: what passes between them crosses nodes; node 7 has CPUs 0-3"},
		{name: "the NIC's node", machine: two, nics: []nic{card("a", 1, 2)}, want: "4(1,1):[[0]] 5(1,1):[[1]]", nodes: []int{1}},
		{name: "more queues than the node has CPUs", machine: two, nics: []nic{card("a", 1, 6)}, nodes: []int{1},
			want:   "4(1,1):[[0 4]] 5(1,1):[[1 5]] 6(1,1):[[2]] 7(1,1):[[3]]",
			advice: "a has 6 queues for 4 workers, which serve several each; one each is faster (`ethtool -L a combined 4`)"},
		{name: "NICs on two nodes", machine: two, nics: []nic{card("a", 1, 2), card("b", 0, 2)}, want: "4(1,1):[[0] [0]] 5(1,1):[[1] [1]]", nodes: []int{1},
			warnings: "node of b: it is on node 0, but workers on CPUs 4-5 are on node 1: what passes between them crosses nodes; node 0 has CPUs 0-3"},
		{name: "NICs on two nodes, many queues", machine: two, nics: []nic{card("a", 1, 5), card("b", 0, 5)}, nodes: []int{0, 1},
			want: "4(1,1):[[0] [0]] 5(1,1):[[1] [1]] 6(1,1):[[2] [2]] 7(1,1):[[3] [3]] 1(0,0):[[4] [4]]",
			warnings: "node of a: it is on node 1, but workers on CPUs 1 are on node 0: what passes between them crosses nodes; node 1 has CPUs 4-7\n" +
				"node of b: it is on node 0, but workers on CPUs 4-7 are on node 1: what passes between them crosses nodes; node 0 has CPUs 0-3"},
		{name: "threads: cores first", machine: threads, nics: []nic{card("a", 0, 4)}, nodes: []int{0},
			want: "1(0,0):[[0]] 4(0,0):[[1]] 5(0,0):[[2]] 0(0,0):[[3]]"},
		{name: "threads, nodes unknown", machine: threads, nics: []nic{card("a", -1, 5)}, nodes: []int{0, 1},
			want: "1(0,0):[[0]] 4(0,0):[[1]] 2(1,1):[[2]] 3(1,1):[[3]] 5(0,0):[[4]]"},
		{name: "two threads of a core", machine: threads, nics: []nic{card("a", 0, 2)}, wish: wish{cpus: []int{1, 5}}, nodes: []int{0},
			want: "1(0,0):[[0]] 5(0,0):[[1]]", advice: "workers.cpus: CPUs 1,5 are threads of one core, which their workers will share"},
		{name: "surplus goes round", machine: two, nics: []nic{card("a", 0, 5), card("b", 0, 2)}, nodes: []int{0},
			want:   "1(0,0):[[0 2 4] [0]] 2(0,0):[[1 3] [1]]",
			advice: "a has 5 queues, but b 2: there are 2 workers; with as many there could be more (`ethtool -L b combined N`)"},
		{name: "few CPUs", machine: confined, nics: []nic{card("a", -1, 3)}, nodes: []int{0}, want: "1(0,0):[[0 2]] 2(0,0):[[1]]",
			advice: "a has 3 queues for 2 workers, which serve several each; one each is faster (`ethtool -L a combined 2`)"},
		{name: "the NIC's node is out of reach", machine: confined, nics: []nic{card("a", 1, 1)}, nodes: []int{0}, want: "1(0,0):[[0]]",
			warnings: "node of a: it is on node 1, but workers on CPUs 1 are on node 0: what passes between them crosses nodes; node 1 has CPUs 4-7"},
		{name: "a list", machine: two, nics: []nic{{name: "a", queues: []int{2, 5}, node: -1}}, wish: wish{cpus: []int{2, 3, 6}}, nodes: []int{0},
			want: "2(0,0):[[2]] 3(0,0):[[5]]", advice: "workers.cpus: 3 CPUs, but a has 2 queues: CPUs 6 stay without a worker"},
		{name: "a list elsewhere", machine: two, nics: []nic{card("a", 0, 3)}, wish: wish{cpus: []int{3, 4, 5}}, nodes: []int{0, 1},
			want:     "3(0,0):[[0]] 4(1,1):[[1]] 5(1,1):[[2]]",
			warnings: "node of a: it is on node 0, but workers on CPUs 4-5 are on node 1: what passes between them crosses nodes; node 0 has CPUs 0-3"},
		{name: "isolated CPUs are left alone", machine: apart, nics: []nic{card("a", 0, 2)}, want: "1(0,0):[[0]] 0(0,0):[[1]]", nodes: []int{0},
			advice: "CPUs 2-3 are isolated (isolcpus) and stay without a worker: name them in workers.cpus"},
		{name: "isolated CPUs by name", machine: apart, nics: []nic{card("a", 0, 2)}, wish: wish{cpus: []int{2, 3}}, want: "2(0,0):[[0]] 3(0,0):[[1]]", nodes: []int{0}},
		{name: "numa off", machine: two, nics: []nic{card("a", 1, 5)}, wish: wish{numa: "off"},
			want: "1(0,-1):[[0]] 2(0,-1):[[1]] 3(0,-1):[[2]] 0(0,-1):[[3]] 4(1,-1):[[4]]"},
		{name: "numa by number", machine: two, nics: []nic{card("a", -1, 1)}, wish: wish{numa: "1"}, want: "4(1,1):[[0]]", nodes: []int{1}},
		{name: "numa by number, the NIC elsewhere", machine: two, nics: []nic{card("a", 0, 1)}, wish: wish{numa: "1"}, want: "4(1,1):[[0]]", nodes: []int{1},
			warnings: "node of a: it is on node 0, but workers on CPUs 4 are on node 1: what passes between them crosses nodes; node 0 has CPUs 0-3"},
		{name: "node without memory", machine: poor, nics: []nic{card("a", 1, 2)}, want: "4(1,0):[[0]] 5(1,0):[[1]]", nodes: []int{0},
			warnings: "memory of node 1: it has none: its workers' frames come from node 0"},

		{name: "none", machine: one, err: "no interface"},
		{name: "no queue", machine: one, nics: []nic{{name: "a"}}, err: "a: no queue"},
		{name: "no CPU", machine: machine{Topology: one.Topology}, nics: []nic{card("a", 0, 1)}, err: "no CPU"},
		{name: "CPU offline", machine: two, nics: []nic{card("a", 0, 1)}, wish: wish{cpus: []int{1, 9}}, err: "workers.cpus: CPU 9 is not online: 0-7 are"},
		{name: "CPU outside of the cpuset", machine: confined, nics: []nic{card("a", 0, 1)}, wish: wish{cpus: []int{1, 6, 7}},
			err: "workers.cpus: CPUs 6-7 are outside of this process's cpuset, which has 0-5 (cpuset.cpus of its cgroup; AllowedCPUs= of a systemd unit)"},
		{name: "CPU outside of the affinity", machine: confined, nics: []nic{card("a", 0, 1)}, wish: wish{cpus: []int{3}},
			err: "workers.cpus: CPU 3 is none that this process may run on, which are 1-2 (taskset; CPUAffinity= of a systemd unit)"},
		{name: "all at once", machine: confined, nics: []nic{card("a", 0, 1)}, wish: wish{cpus: []int{3, 7, 9}, numa: "0"},
			err: "CPU 9 is not online: 0-7 are\nworkers.cpus: CPU 7 is outside"},
		{name: "list and node contradict", machine: two, nics: []nic{card("a", 0, 1)}, wish: wish{cpus: []int{1, 4}, numa: "0"},
			err: "workers.cpus: CPU 4 is not on node 0, which workers.numa names and which has 0-3"},
		{name: "no such node", machine: two, nics: []nic{card("a", 0, 1)}, wish: wish{numa: "2"}, err: "workers.numa: there is no node 2: this machine has 0-1"},
		{name: "no CPU on the node", machine: confined, nics: []nic{card("a", 0, 1)}, wish: wish{numa: "1"},
			err: "workers.numa: node 1 has no CPU that this process may run on: its are 4-7, the process may have 1-2"},
		{name: "numa nonsense", machine: two, nics: []nic{card("a", 0, 1)}, wish: wish{numa: "near"}, err: `workers.numa: "near" is not`},
	} {
		p, err := place(c.nics, c.wish, c.machine)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", c.name, err, c.err)
		}
		if err != nil {
			continue
		}
		var seats, warnings []string
		for i, s := range p.seats {
			if s.id != i {
				t.Errorf("%s: worker %d is the %dth", c.name, s.id, i)
			}
			seats = append(seats, s.String())
		}
		for _, w := range p.warnings {
			warnings = append(warnings, w.Subject+": "+w.Text)
		}
		if got := strings.Join(seats, " "); got != c.want {
			t.Errorf("%s: seats\n%s, want\n%s", c.name, got, c.want)
		}
		if got := strings.Join(warnings, "\n"); got != c.warnings {
			t.Errorf("%s: warnings\n%s\nwant\n%s", c.name, got, c.warnings)
		}
		if got := strings.Join(p.advice, "\n"); got != c.advice {
			t.Errorf("%s: advice\n%s\nwant\n%s", c.name, got, c.advice)
		}
		if !slices.Equal(p.nodes, c.nodes) {
			t.Errorf("%s: the table is on nodes %v, want %v", c.name, p.nodes, c.nodes)
		}
	}
}

// Two cards with 200 queues and 64 CPUs on two nodes: every queue has a worker, and no worker more than one queue more
// than another.
func TestPlaceMany(t *testing.T) {
	m := topology(t, "", "0-1", 2, "0-15,32-47", "16-31,48-63")
	p, err := place([]nic{card("a", 0, 200), card("b", 1, 200)}, wish{}, m)
	if err != nil || len(p.seats) != 64 {
		t.Fatalf("%d seats, %v", len(p.seats), err)
	}
	seen := [2][]int{}
	var cpus, first numa.CPUs
	for i, s := range p.seats {
		for n, queues := range s.queues {
			seen[n] = append(seen[n], queues...)
			if len(queues) < 3 || len(queues) > 4 {
				t.Errorf("worker %d has %d queues", s.id, len(queues))
			}
		}
		if cpus = append(cpus, s.cpu); i < 32 {
			first = append(first, s.cpu%32)
		}
	}
	for _, list := range [][]int{cpus, first, seen[0], seen[1]} {
		slices.Sort(list)
	}
	if cpus.String() != "0-63" || first.String() != "0-31" {
		t.Errorf("CPUs %s, the first workers' cores %s", cpus, first)
	}
	if !reflect.DeepEqual(seen[0], card("", 0, 200).queues) || !reflect.DeepEqual(seen[0], seen[1]) {
		t.Error("a queue has no worker, or two")
	}
}
