package numa

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Topology is what /sys tells about nodes and CPUs. The zero value is a machine with one node of unknown CPUs.
type Topology struct {
	Nodes    []Node // ascending by number; never empty after Read
	Online   CPUs
	Possible CPUs // that may ever be online
	Isolated CPUs // set aside by isolcpus=: nothing runs there unless it asks to
	cores    map[int]CPUs
	sys      fs.FS
}

// Node is one NUMA node.
type Node struct {
	Number    int
	CPUs      CPUs
	Memory    bool  // it has memory of its own
	Distances []int // to each online node in the order of Topology.Nodes, 10 is itself; nil: unknown
}

// Read reads the topology of this machine.
func Read() (*Topology, error) { return ReadFrom(os.DirFS("/sys")) }

// ReadFrom reads the topology from a tree laid out as /sys. A tree that knows no nodes (no NUMA in the kernel) yields
// node 0 with all online CPUs.
func ReadFrom(sys fs.FS) (*Topology, error) {
	t := &Topology{sys: sys, cores: map[int]CPUs{}}
	nodes, err := readList(sys, "devices/system/node/online")
	if err != nil {
		if t.Online, err = readList(sys, "devices/system/cpu/online"); err != nil {
			return nil, fmt.Errorf("read CPU topology: %w", err)
		}
		t.Nodes = []Node{{Number: 0, CPUs: t.Online, Memory: true}}
	} else if err := t.readNodes(nodes); err != nil {
		return nil, err
	}
	if t.Possible, err = readList(sys, "devices/system/cpu/possible"); err != nil {
		t.Possible = t.Online
	}
	t.Isolated, _ = readList(sys, "devices/system/cpu/isolated") // absent where the kernel cannot isolate
	for _, c := range t.Online {
		dir := fmt.Sprintf("devices/system/cpu/cpu%d/topology/", c)
		core, err := readList(sys, dir+"core_cpus_list")
		if err != nil { // Linux before 5.3
			core, _ = readList(sys, dir+"thread_siblings_list")
		}
		if core.Contains(c) {
			t.cores[c] = core
		}
	}
	return t, nil
}

func (t *Topology) readNodes(nodes CPUs) error {
	withMemory, err := readList(t.sys, "devices/system/node/has_memory")
	if err != nil {
		withMemory = nodes
	}
	for _, n := range nodes {
		dir := fmt.Sprintf("devices/system/node/node%d/", n)
		cpus, err := readList(t.sys, dir+"cpulist")
		if err != nil {
			return fmt.Errorf("read CPUs of node %d: %w", n, err)
		}
		node := Node{Number: n, CPUs: cpus, Memory: withMemory.Contains(n)}
		if b, err := fs.ReadFile(t.sys, dir+"distance"); err == nil {
			for _, word := range strings.Fields(string(b)) {
				d, err := strconv.Atoi(word)
				if err != nil {
					return fmt.Errorf("read distances of node %d: %w", n, err)
				}
				node.Distances = append(node.Distances, d)
			}
		}
		t.Nodes = append(t.Nodes, node)
		t.Online = append(t.Online, cpus...)
	}
	slices.Sort(t.Online)
	return nil
}

func readList(sys fs.FS, name string) (CPUs, error) {
	b, err := fs.ReadFile(sys, name)
	if err != nil {
		return nil, err
	}
	return ParseCPUs(string(b))
}

// DeviceNode is the node that a device hangs on, by its name on its bus (a NIC's as ethtool -i tells it: 0000:01:00.0);
// -1 for virtual interfaces, which have none, and where the firmware does not say.
func (t *Topology) DeviceNode(device string) int {
	if device == "" || strings.ContainsAny(device, "/*?[\\") {
		return -1
	}
	found, _ := fs.Glob(t.sys, "bus/*/devices/"+device+"/numa_node")
	for _, name := range found {
		b, err := fs.ReadFile(t.sys, name)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			return n
		}
	}
	return -1
}

// Core is the CPUs that are threads of one core with a CPU, itself among them.
func (t *Topology) Core(cpu int) CPUs {
	if core := t.cores[cpu]; core != nil {
		return core
	}
	return CPUs{cpu}
}

// Has tells whether there is such a node.
func (t *Topology) Has(node int) bool { return t.index(node) >= 0 }

func (t *Topology) index(node int) int {
	return slices.IndexFunc(t.Nodes, func(n Node) bool { return n.Number == node })
}

// MemoryNode is where memory for a CPU of a node is best taken from: the node itself or, if it has no memory, the nearest
// that has; -1: unknown.
func (t *Topology) MemoryNode(node int) int {
	i := t.index(node)
	if i < 0 || t.Nodes[i].Memory {
		return node
	}
	best, nearest := -1, 0
	for j := range t.Nodes {
		if !t.Nodes[j].Memory {
			continue
		}
		d := 20 // what the kernel assumes
		if j < len(t.Nodes[i].Distances) {
			d = t.Nodes[i].Distances[j]
		}
		if best < 0 || d < nearest {
			best, nearest = t.Nodes[j].Number, d
		}
	}
	return best
}

// CPUs of a node; every CPU of the machine for -1 or a node that does not exist.
func (t *Topology) CPUs(node int) CPUs {
	var all CPUs
	for _, n := range t.Nodes {
		if n.Number == node {
			return n.CPUs
		}
		all = append(all, n.CPUs...)
	}
	all, _ = ParseCPUs(all.String())
	return all
}

// NodeOf is the node of a CPU, -1 when it is offline or unknown.
func (t *Topology) NodeOf(cpu int) int {
	for _, n := range t.Nodes {
		if n.CPUs.Contains(cpu) {
			return n.Number
		}
	}
	return -1
}
