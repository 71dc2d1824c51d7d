package tune

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/numa"
)

func TestAffinities(t *testing.T) {
	a, b, shared := IRQ{41, "a"}, IRQ{40, "b"}, IRQ{42, "shared"}
	got := Affinities([]Queue{
		{Number: 0, CPU: 3, IRQs: []IRQ{a, b}},
		{Number: 1, CPU: 5, IRQs: []IRQ{shared}},
		{Number: 2, CPU: 2, IRQs: []IRQ{shared}},
		{Number: 3, CPU: 5, IRQs: []IRQ{shared}},
		{Number: 4, CPU: -1, IRQs: []IRQ{{43, "not pinned"}}},
		{Number: 5, CPU: 1},
	})
	want := []Aim{{b, numa.CPUs{3}}, {a, numa.CPUs{3}}, {shared, numa.CPUs{2, 5}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct{ table, taken, next, unserved []int }{
		{nil, []int{0, 1}, nil, nil},
		{[]int{0, 1}, nil, nil, nil},
		{[]int{0, 1, 0, 1}, []int{0, 1}, nil, nil},
		{[]int{1, 1, 0, 0}, []int{0, 1}, nil, nil}, // not ours to make even
		{[]int{0, 0, 0, 0}, []int{0, 1}, nil, []int{1}},
		{[]int{0, 1, 2, 3, 0, 1, 2, 3}, []int{1, 3}, []int{1, 3, 1, 3, 1, 3, 1, 3}, nil},
		{[]int{0, 1, 7, 1}, []int{0, 1}, []int{0, 1, 0, 1}, nil}, // a queue that is not there
		{[]int{0, 1}, []int{1, 2, 3}, []int{1, 2}, []int{3}},
	} {
		next, unserved := Spread(c.table, c.taken)
		if !reflect.DeepEqual(next, c.next) || !reflect.DeepEqual(unserved, c.unserved) {
			t.Errorf("%v to %v: %v, %v; want %v, %v", c.table, c.taken, next, unserved, c.next, c.unserved)
		}
	}
}

// queues makes queues with an interrupt each, all on one CPU.
func queues(numbers ...int) (list []Queue) {
	for _, n := range numbers {
		list = append(list, Queue{Number: n, CPU: 1, IRQs: []IRQ{{100 + n, fmt.Sprint("q", n)}}})
	}
	return list
}

func TestMake(t *testing.T) {
	for _, c := range []struct {
		name    string
		nic     NIC
		change  bool
		table   []int
		aims    int
		warning string
	}{
		{name: "all queues", nic: NIC{Total: 2, Queues: queues(0, 1), Table: []int{0, 1, 0, 1}}, change: true, aims: 2},
		{name: "all queues, no table", nic: NIC{Total: 2, Queues: queues(0, 1)}, change: true, aims: 2},
		{name: "some queues", nic: NIC{Total: 4, Queues: queues(1, 2), Table: []int{0, 1, 2, 3}}, change: true, aims: 2, table: []int{1, 2, 1, 2}},
		{name: "some queues, hands off", nic: NIC{Total: 4, Queues: queues(1, 2), Table: []int{0, 1, 2, 3}},
			warning: "RSS of e: packets that it sends to queues other than 1-2 are lost, for they have no worker: `ethtool -X e start 1 equal 2`"},
		{name: "some queues, no table", nic: NIC{Driver: "veth", Total: 4, Queues: queues(0, 2)}, change: true, aims: 2,
			warning: "RSS of e: packets that it sends to queues other than 0,2 are lost, for they have no worker, and the driver (veth) cannot be told: " +
				"take all 4 queues (`queues: all`), or give it no more than are taken (`ethtool -L e combined 2`)"},
		{name: "more queues than before", nic: NIC{Driver: "virtio_net", Total: 6, Grown: true, Queues: queues(0, 1)}, change: true, aims: 2,
			warning: "RSS of e: packets that it sends to queues other than 0-1 are lost: the driver (virtio_net) made others for the program, 6 in all, " +
				"and has no RSS table: give the interface as many before the start (`ethtool -L e combined 6`)"},
		{name: "an uneven table", nic: NIC{Total: 3, Queues: queues(0, 1, 2), Table: []int{0, 0, 1, 1}}, change: true, aims: 3,
			warning: "RSS of e is uneven: queues 2 get no packets by it: `ethtool -X e equal 3`"},
		{name: "a small table", nic: NIC{Total: 4, Queues: queues(0, 2, 3), Table: []int{0, 1}}, change: true, aims: 3, table: []int{0, 2},
			warning: "RSS of e is uneven: queues 3 get no packets by it: `ethtool -X e weight 1 0 1 1`"},
	} {
		c.nic.Name = "e"
		p := Make([]NIC{c.nic}, c.change)
		if !reflect.DeepEqual(p.Tables["e"], c.table) || len(p.Aims) != c.aims {
			t.Errorf("%s: %+v", c.name, p)
		}
		var got []string
		for _, w := range p.Warnings {
			got = append(got, w.Subject+": "+w.Text)
		}
		if strings.Join(got, "\n") != c.warning {
			t.Errorf("%s: warnings\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), c.warning)
		}
	}
}

// 200 queues of two NICs for 16 workers.
func TestMakeMany(t *testing.T) {
	var nics []NIC
	for i, name := range []string{"e0", "e1"} {
		n := NIC{Name: name, Total: 200, Table: make([]int, 512)}
		for q := range 200 {
			n.Queues = append(n.Queues, Queue{Number: q, CPU: 4 + q%16, IRQs: []IRQ{{1000*i + q, ""}}})
		}
		for j := range n.Table {
			n.Table[j] = j % 200
		}
		nics = append(nics, n)
	}
	p := Make(nics, true)
	if len(p.Aims) != 400 || len(p.Tables) != 0 || len(p.Warnings) != 0 {
		t.Fatalf("%d aims, tables %v, warnings %v", len(p.Aims), p.Tables, p.Warnings)
	}
	for _, a := range p.Aims {
		if q := a.IRQ.Number % 1000; len(a.CPUs) != 1 || a.CPUs[0] != 4+q%16 {
			t.Errorf("queue %d: CPUs %v", q, a.CPUs)
		}
	}
}
