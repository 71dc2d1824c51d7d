package director

import (
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/xdp"
)

// Packets longer than a frame (docs/large-frames.md): where an interface's MTU calls for them, the program is attached in
// the form that knows packets of several buffers, and the sockets are bound with XDP_USE_SG. What an interface cannot carry
// in spite of its MTU the workers do not send there: its limit is made known to the routes, and so to senders, by ICMP.

// linkHeader is what lies before an IP packet: an Ethernet header and a tag.
const linkHeader = 18

// frameMTU is the longest packet that fits a frame.
const frameMTU = ring.MaxPacket - linkHeader

// wantSegments finds out whether packets of several frames are called for and can be had. try says for each NIC whether zero
// copy is to be tried on it: that every packet goes through counts for more, so a driver that has no multi-buffer in zero-copy
// mode is not asked for it at a large MTU, unless the configuration demands it.
func (d *Director) wantSegments(try []bool) error {
	large := func(n *attached) bool { return n.mtu > frameMTU }
	if !slices.ContainsFunc(d.nics, large) {
		return nil
	}
	known, err := ring.SegmentsSupported()
	if err != nil {
		return err
	}
	if !known {
		for _, n := range d.nics {
			n.short = "the kernel has no XDP_USE_SG: Linux 6.6 has"
		}
		return nil
	}
	d.segments = true
	able := true // all that zero copy is tried on, so that they may share their frames
	for i, n := range d.nics {
		if !try[i] {
			continue
		}
		if n.features, err = xdp.ReadFeatures(n.index); err != nil {
			d.log.Warn("not known: whether the driver has multi-buffer in zero-copy mode", zap.String("interface", n.name), zap.Error(err))
		}
		able = able && n.features.ZeroCopySegments > 1
	}
	for i, n := range d.nics {
		if !try[i] || able || !large(n) {
			continue
		}
		n.short = "in zero-copy mode its driver, or that of an interface which shares frames with it, has no multi-buffer"
		if n.want != "zerocopy" {
			try[i] = false
			n.why = fmt.Sprintf("its MTU is %d, and %s", n.mtu, n.short)
		}
	}
	return nil
}

// segmentsIn tells whether the sockets of a group are bound for packets of several frames.
func (d *Director) segmentsIn(g group) bool {
	if !d.segments || g.bind == ring.BindCopy {
		return d.segments
	}
	return !slices.ContainsFunc(g.nics, func(n int) bool { return d.nics[n].features.ZeroCopySegments <= 1 })
}

// setLimits notes how long packets every interface carries, now that its sockets are open, and makes it known.
func (d *Director) setLimits() error {
	limits := map[int]uint32{}
	for _, n := range d.nics {
		switch {
		case !n.chains:
			n.segments = 1
		case n.zeroCopy:
			n.segments = min(n.features.ZeroCopySegments, ring.MaxSegments)
		default:
			n.segments = ring.MaxSegments
		}
		limits[n.index] = uint32(n.longest())
	}
	if err := d.net.SetLimits(limits); err != nil {
		return fmt.Errorf("limits of the interfaces: %w", err)
	}
	d.watchMTUs()
	return nil
}

// longest is the longest packet that an interface carries, whatever its MTU.
func (n *attached) longest() int { return ring.LongestIn(n.segments) - linkHeader }

// segmentsByPort is worker.Config.Segments.
func (d *Director) segmentsByPort() (s []int) {
	for _, n := range d.nics {
		s = append(s, n.segments)
	}
	return s
}

// watchMTUs notices interfaces that carry less than their MTU allows.
func (d *Director) watchMTUs() {
	net := d.net.Snapshot()
	for _, n := range d.nics {
		var err error
		if i, ok := net.InterfaceByName(n.name); ok && net.Interfaces[i].Index == n.index && int(net.Interfaces[i].MTU) > n.longest() {
			err = n.tooLarge(int(net.Interfaces[i].MTU))
		}
		d.warn("MTU of "+n.name, err)
	}
}

// tooLarge says that an interface's MTU is more than it carries, why, and what to do.
func (n *attached) tooLarge(mtu int) error {
	why, cure := n.short, "or use a driver that has XDP multi-buffer"
	if why == "" {
		why, cure = fmt.Sprintf("it was %d when the director started", n.mtu), "or restart the director"
	}
	return fmt.Errorf("it is %d, but packets longer than %d bytes are not carried: %s; who sends longer ones through the director is told by ICMP, "+
		"those from its own link are lost: `ip link set %s mtu %d` there and on its neighbours, %s", mtu, n.longest(), why, n.name, n.longest(), cure)
}

// refused adds to a driver's refusal what the MTU has to do with it.
func (n *attached) refused(err error) error {
	if err == nil || n.mtu <= safeMTU || !errors.Is(err, xdp.ErrNotSupported) {
		return err
	}
	return fmt.Errorf("%w\nits MTU is %d: a driver without XDP multi-buffer takes a program up to some 3000 to 3500 bytes only: "+
		"`ip link set %s mtu %d`, or attach: auto or generic, which do without the driver", err, n.mtu, n.name, safeMTU)
}

// safeMTU is an MTU with which drivers without multi-buffer take a program: packets must fit one of their buffers with
// headroom and the kernel's trailer, which is at most a page.
const safeMTU = 3000
