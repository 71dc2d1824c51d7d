package director

import (
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

// A veth's queues have workers but no interrupts, its RSS cannot be told what to do, and the director says so.
func TestPlacementOfVirtualInterfaces(t *testing.T) {
	s := newSite(t)
	s.in(&s.director)
	for _, name := range []string{"c", "s"} { // again, with four queues
		ok(t, s.director.h.LinkDel(s.director.link(t, name)))
		ok(t, s.director.h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, NumTxQueues: 4, NumRxQueues: 4}, PeerName: name + "peer"}))
		ok(t, s.director.h.LinkSetUp(s.director.link(t, name)))
		ok(t, s.director.h.LinkSetUp(s.director.link(t, name+"peer")))
	}
	s.config.Interfaces[0].Queues = []int{0, 2}
	d := s.start()
	status, err := d.Status()
	ok(t, err)
	var got [][3]int
	for _, p := range status.Placement {
		if p.Node != -1 || p.IRQs == nil || len(p.IRQs) != 0 || p.CPU != status.Workers[p.Worker].CPU || p.CPUNode != status.Workers[p.Worker].Node {
			t.Errorf("%+v", p)
		}
		got = append(got, [3]int{slices.Index([]string{"c", "s"}, p.Interface), p.Queue, p.Worker})
	}
	last := len(status.Workers) - 1
	want := [][3]int{{0, 0, 0}, {0, 2, last}, {1, 0, 0}, {1, 1, last}, {1, 2, 0}, {1, 3, last}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("NIC, queue and worker: %v, want %v", got, want)
	}
	const warning = "RSS of c: packets that it sends to queues other than 0,2 are lost, for they have no worker, and the driver (veth) cannot be told: " +
		"take all 4 queues (`queues: all`), or give it no more than are taken (`ethtool -L c combined 2`)"
	if !slices.Contains(status.Warnings, warning) {
		t.Errorf("warnings %q, want %q", status.Warnings, warning)
	}
	s.in(&s.director)
	ok(t, d.Stop())
	if _, err := os.Stat(s.config.Flows.State + ".settings"); !os.IsNotExist(err) {
		t.Errorf("nothing was changed, and it is written what is to be put back: %v", err)
	}
}
