package director

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/flow"
)

// hasVLAN tells whether there is a VLAN on a NIC.
func (d *Director) hasVLAN(index int) bool {
	s := d.net.Snapshot()
	for i := range s.Interfaces {
		f := &s.Interfaces[i]
		if !f.Gone && f.Parent != i && s.Interfaces[f.Parent].Index == index {
			return true
		}
	}
	return false
}

// countQueues is the number of queues that an interface receives on.
func (d *Director) countQueues(name string) int {
	c, err := d.tool.GetChannels(name)
	if err != nil { // a driver with one queue and no settings
		return 1
	}
	return max(1, int(c.CombinedCount+c.RxCount))
}

// watchQueues notices that somebody changed the number of queues under us.
func (d *Director) watchQueues() {
	net := d.net.Snapshot()
	for _, n := range d.nics {
		var err error
		if i, ok := net.InterfaceByName(n.name); ok && net.Interfaces[i].Index == n.index {
			if now := d.countQueues(n.name); now != n.total {
				err = fmt.Errorf("it has %d now and had %d: packets on queues without a socket are lost; restart the director, or put it back (`ethtool -L`)", now, n.total)
			}
		}
		d.warn("number of queues of "+n.name, err)
	}
}

// watchInterfaces notices interfaces that go down or away.
func (d *Director) watchInterfaces() {
	net := d.net.Snapshot()
	for _, n := range d.nics {
		err := errors.New("it is gone: the director goes on without it; restart the director when it is back")
		for i := range net.Interfaces {
			f := &net.Interfaces[i]
			if f.Index != n.index || f.Gone {
				continue
			}
			if err = nil; !f.Up {
				err = fmt.Errorf("it is down: `ip link set %s up`", n.name)
			}
		}
		d.warn("interface "+n.name, err)
	}
}

// forwards tells whether the kernel routes IPv4 and IPv6 between the director's interfaces.
func (d *Director) forwards() (four, six bool) {
	on := func(name string) bool {
		v, err := readSysctl(name)
		return err == nil && v != "0"
	}
	for _, n := range d.nics {
		four = four || on("net/ipv4/conf/"+n.name+"/forwarding")
		six = six || on("net/ipv6/conf/"+n.name+"/forwarding")
	}
	return four, six
}

// hugeFlows reads the configuration's word for the table's pages.
func hugeFlows(s string) (flow.HugePages, error) {
	switch s {
	case "auto", "":
		return flow.HugeAuto, nil
	case "off":
		return flow.HugeOff, nil
	case "required":
		return flow.HugeRequired, nil
	}
	return 0, fmt.Errorf("workers.hugepages: %q is not auto, off or required", s)
}

// availablePages is the machine's available memory in pages (MemAvailable), for the defences.
func availablePages() int64 {
	const plenty = 1 << 40
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return plenty
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "MemAvailable:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return plenty
			}
			return kb << 10 / int64(os.Getpagesize())
		}
	}
	return plenty
}
