package numa

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Topology is what /sys tells about nodes and CPUs. The zero value is a machine with one node of unknown CPUs.
type Topology struct {
	Nodes []Node // ascending by number; never empty after Read
	sys   fs.FS
}

// Node is one NUMA node.
type Node struct {
	Number int
	CPUs   CPUs
}

// Read reads the topology of this machine.
func Read() (*Topology, error) { return ReadFrom(os.DirFS("/sys")) }

// ReadFrom reads the topology from a tree laid out as /sys. A tree that knows no nodes (no NUMA in the kernel) yields
// node 0 with all online CPUs.
func ReadFrom(sys fs.FS) (*Topology, error) {
	t := &Topology{sys: sys}
	nodes, err := readList(sys, "devices/system/node/online")
	if err != nil {
		cpus, err := readList(sys, "devices/system/cpu/online")
		if err != nil {
			return nil, fmt.Errorf("read CPU topology: %w", err)
		}
		t.Nodes = []Node{{0, cpus}}
		return t, nil
	}
	for _, n := range nodes {
		cpus, err := readList(sys, fmt.Sprintf("devices/system/node/node%d/cpulist", n))
		if err != nil {
			return nil, fmt.Errorf("read CPUs of node %d: %w", n, err)
		}
		t.Nodes = append(t.Nodes, Node{n, cpus})
	}
	return t, nil
}

func readList(sys fs.FS, name string) (CPUs, error) {
	b, err := fs.ReadFile(sys, name)
	if err != nil {
		return nil, err
	}
	return ParseCPUs(string(b))
}

// NICNode is the node that an interface's device hangs on; -1 for virtual interfaces and where the firmware does not
// say.
func (t *Topology) NICNode(name string) int {
	b, err := fs.ReadFile(t.sys, path.Join("class/net", name, "device/numa_node"))
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return -1
	}
	return n
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
