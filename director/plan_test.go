package director

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fastlb/fastlb/numa"
)

func machine(t *testing.T) *numa.Topology {
	t.Helper()
	top, err := numa.ReadFrom(fstest.MapFS{
		"devices/system/node/online":        {Data: []byte("0-1\n")},
		"devices/system/node/node0/cpulist": {Data: []byte("0-3\n")},
		"devices/system/node/node1/cpulist": {Data: []byte("4-7\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return top
}

func TestSeats(t *testing.T) {
	top := machine(t)
	all, _ := numa.ParseCPUs("0-7")
	for _, c := range []struct {
		name    string
		nics    []nic
		cpus    []int
		allowed numa.CPUs
		want    []seat
		warning string
		err     string
	}{
		{
			name: "one queue", nics: []nic{{name: "a", queues: []int{0}, node: -1}}, allowed: all,
			want: []seat{{0, 1, 0, [][]int{{0}}}},
		},
		{
			name: "the NIC's node", nics: []nic{{name: "a", queues: []int{0, 1}, node: 1}}, allowed: all,
			want: []seat{{0, 4, 1, [][]int{{0}}}, {1, 5, 1, [][]int{{1}}}},
		},
		{
			name: "surplus goes round", nics: []nic{{name: "a", queues: []int{0, 1, 2, 3, 4}, node: 0}, {name: "b", queues: []int{0, 1}, node: 0}}, allowed: all,
			want: []seat{{0, 1, 0, [][]int{{0, 2, 4}, {0}}}, {1, 2, 0, [][]int{{1, 3}, {1}}}},
		},
		{
			name: "few CPUs", nics: []nic{{name: "a", queues: []int{0, 1, 2}, node: -1}}, allowed: numa.CPUs{0, 1},
			want: []seat{{0, 1, 0, [][]int{{0, 2}}}, {1, 0, 0, [][]int{{1}}}},
		},
		{
			name: "a list", nics: []nic{{name: "a", queues: []int{2, 5}, node: -1}}, cpus: []int{6, 2, 3}, allowed: all,
			want: []seat{{0, 6, 1, [][]int{{2}}}, {1, 2, 0, [][]int{{5}}}}, warning: "CPUs 3 stay without",
		},
		{name: "none", err: "no interface"},
		{name: "no queue", nics: []nic{{name: "a"}}, err: "no queue"},
		{name: "foreign CPU", nics: []nic{{name: "a", queues: []int{0}}}, cpus: []int{9}, allowed: all, err: "CPU 9"},
		{name: "no CPU", nics: []nic{{name: "a", queues: []int{0}}}, err: "no CPU"},
	} {
		got, warnings, err := seats(c.nics, c.cpus, c.allowed, top)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", c.name, err, c.err)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if w := strings.Join(warnings, "\n"); (w != "") != (c.warning != "") || !strings.Contains(w, c.warning) {
			t.Errorf("%s: warnings %q, want %q", c.name, w, c.warning)
		}
	}
}
