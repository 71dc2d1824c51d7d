package numa

import (
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
	top, err := ReadFrom(fstest.MapFS{
		"devices/system/node/online":        file("0-1\n"),
		"devices/system/node/node0/cpulist": file("0-3,8-11\n"),
		"devices/system/node/node1/cpulist": file("4-7,12-15\n"),
		"class/net/eth0/device/numa_node":   file("1\n"),
		"class/net/eth1/device/numa_node":   file("-1\n"),
		"class/net/lo/mtu":                  file("65536\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"eth0": 1, "eth1": -1, "lo": -1, "none": -1} {
		if got := top.NICNode(name); got != want {
			t.Errorf("node of %s is %d, want %d", name, got, want)
		}
	}
	if got := top.CPUs(1).String(); got != "4-7,12-15" {
		t.Errorf("CPUs of node 1: %s", got)
	}
	if got := top.CPUs(-1).String(); got != "0-15" {
		t.Errorf("all CPUs: %s", got)
	}
	if top.NodeOf(9) != 0 || top.NodeOf(12) != 1 || top.NodeOf(16) != -1 {
		t.Error("NodeOf is wrong")
	}
}

func TestTopologyWithoutNUMA(t *testing.T) {
	top, err := ReadFrom(fstest.MapFS{"devices/system/cpu/online": file("0-1\n")})
	if err != nil || len(top.Nodes) != 1 || top.CPUs(0).String() != "0-1" {
		t.Errorf("%+v, %v", top, err)
	}
	if _, err := ReadFrom(fstest.MapFS{}); err == nil {
		t.Error("an empty /sys was read")
	}
	if _, err := ReadFrom(fstest.MapFS{"devices/system/node/online": file("0\n")}); err == nil {
		t.Error("a node without CPU list was read")
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
