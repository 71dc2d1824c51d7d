package numa

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
)

func TestParseCPUs(t *testing.T) {
	for _, c := range []struct {
		in   string
		want CPUs
		text string
	}{
		{"", nil, ""},
		{"0", CPUs{0}, "0"},
		{"2-5,8", CPUs{2, 3, 4, 5, 8}, "2-5,8"},
		{"8,2-5\n", CPUs{2, 3, 4, 5, 8}, "2-5,8"},
		{"1,1,0-2", CPUs{0, 1, 2}, "0-2"},
		{" 3 , 5 ", CPUs{3, 5}, "3,5"},
		{"8191", CPUs{8191}, "8191"},
	} {
		got, err := ParseCPUs(c.in)
		if err != nil || !slices.Equal(got, c.want) || got.String() != c.text {
			t.Errorf("%q: %v (%v), %v", c.in, got, got.String(), err)
		}
	}
	for _, bad := range []string{"x", "1-", "-1", "5-2", "1,,2", "8192", "0-99999999999", "1-2-3", "0x1"} {
		if got, err := ParseCPUs(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func FuzzParseCPUs(f *testing.F) {
	f.Add("2-5,8")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCPUs(s)
		if err != nil {
			return
		}
		again, err := ParseCPUs(c.String())
		if err != nil || !slices.Equal(c, again) {
			t.Errorf("%q reads %v, writes %q, reads %v, %v", s, c, c.String(), again, err)
		}
	})
}

func file(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

func TestTopology(t *testing.T) {
	tree := fstest.MapFS{
		"devices/system/node/online":                file("0-2\n"),
		"devices/system/node/has_memory":            file("0,2\n"),
		"devices/system/node/node0/cpulist":         file("0-3,8-11\n"),
		"devices/system/node/node1/cpulist":         file("4-7,12-15\n"),
		"devices/system/node/node2/cpulist":         file("16\n"),
		"devices/system/node/node1/distance":        file("21 10 12\n"),
		"devices/system/cpu/isolated":               file("8-9\n"),
		"devices/system/cpu/possible":               file("0-31\n"),
		"bus/pci/devices/0000:01:00.0/numa_node":    file("1\n"),
		"bus/pci/devices/0000:02:00.0/numa_node":    file("-1\n"),
		"bus/virtio/devices/virtio0/vendor":         file("0x1\n"),
		"devices/system/cpu/cpu0/topology/x":        file("\n"),
		"devices/system/cpu/cpu16/topology/y":       file("\n"),
		"devices/system/cpu/cpu1/topology/core_id":  file("1\n"),
		"bus/pci/devices/0000:03:00.0/numa_node":    file("nonsense\n"),
		"bus/platform/devices/0000:04:00.0/numa_no": file("1\n"),
	}
	for c := range 8 { // CPU c and c + 8 are one core
		both := file(CPUs{c, c + 8}.String())
		tree[fmt.Sprintf("devices/system/cpu/cpu%d/topology/core_cpus_list", c)] = both
		tree[fmt.Sprintf("devices/system/cpu/cpu%d/topology/thread_siblings_list", c+8)] = both
	}
	top, err := ReadFrom(tree)
	if err != nil {
		t.Fatal(err)
	}
	for device, want := range map[string]int{"0000:01:00.0": 1, "0000:02:00.0": -1, "0000:03:00.0": -1, "0000:04:00.0": -1, "virtio0": -1, "": -1, "*": -1, "../x": -1} {
		if got := top.DeviceNode(device); got != want {
			t.Errorf("node of %q is %d, want %d", device, got, want)
		}
	}
	if got := top.CPUs(1).String(); got != "4-7,12-15" {
		t.Errorf("CPUs of node 1: %s", got)
	}
	if got := top.CPUs(-1).String() + " " + top.Online.String() + " " + top.Isolated.String() + " " + top.Possible.String(); got != "0-16 0-16 8-9 0-31" {
		t.Errorf("all, online, isolated and possible CPUs: %s", got)
	}
	if top.NodeOf(9) != 0 || top.NodeOf(12) != 1 || top.NodeOf(17) != -1 {
		t.Error("NodeOf is wrong")
	}
	if got := fmt.Sprint(top.Core(3), top.Core(11), top.Core(16), top.Core(99)); got != "3,11 3,11 16 99" {
		t.Errorf("cores: %s", got)
	}
	if got := fmt.Sprint(top.MemoryNode(0), top.MemoryNode(1), top.MemoryNode(2), top.MemoryNode(-1)); got != "0 2 2 -1" {
		t.Errorf("nodes of memory: %s", got)
	}
	if !top.Has(2) || top.Has(3) || top.Has(-1) {
		t.Error("Has is wrong")
	}
	tree["devices/system/node/node1/distance"] = file("far\n")
	if _, err := ReadFrom(tree); err == nil {
		t.Error("a distance that is no number was read")
	}
}

func TestTopologyWithoutNUMA(t *testing.T) {
	top, err := ReadFrom(fstest.MapFS{"devices/system/cpu/online": file("0-1\n")})
	if err != nil || len(top.Nodes) != 1 || top.CPUs(0).String() != "0-1" || top.Online.String() != "0-1" || top.MemoryNode(0) != 0 || top.Possible.String() != "0-1" {
		t.Errorf("%+v, %v", top, err)
	}
	if _, err := ReadFrom(fstest.MapFS{}); err == nil {
		t.Error("an empty /sys was read")
	}
	if _, err := ReadFrom(fstest.MapFS{"devices/system/node/online": file("0\n")}); err == nil {
		t.Error("a node without CPU list was read")
	}
}

func TestLackOfHugePages(t *testing.T) {
	const dir = "devices/system/node/node1/hugepages/hugepages-2048kB/"
	sys := fstest.MapFS{dir + "free_hugepages": file("3\n"), dir + "nr_hugepages": file("10\n"), "devices/system/node/node0/x": file("")}
	for _, c := range []struct {
		pages, node int
		want        string
	}{
		{3, 1, ""}, {40, -1, ""}, {40, 0, ""}, {40, 2, ""},
		{40, 1, "node 1 has 3 free, 40 are needed: `echo 47 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages`"},
	} {
		if got := lackOf(sys, c.pages, c.node); got != c.want {
			t.Errorf("%d pages on node %d: %q, want %q", c.pages, c.node, got, c.want)
		}
	}
	sys[dir+"free_hugepages"] = file("many\n")
	if got := lackOf(sys, 40, 1); got != "" {
		t.Errorf("an unreadable number: %q", got)
	}
}

func TestParseHugePages(t *testing.T) {
	for s, want := range map[string]HugePages{"": HugeAuto, "auto": HugeAuto, "off": HugeOff, "required": HugeRequired} {
		if got, err := ParseHugePages(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if _, err := ParseHugePages("yes"); err == nil {
		t.Error("yes was accepted")
	}
}
