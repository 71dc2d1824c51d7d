package tune

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// What of linux/netdev.h is needed here.
const (
	netdevFamily   = "netdev"
	netdevQueueGet = 10
	netdevNAPIGet  = 11

	queueAttrID      = 1
	queueAttrIfindex = 2
	queueAttrNAPI    = 4
	queueAttrXSK     = 7 // there if an AF_XDP socket has the queue; Linux 6.16

	napiAttrIfindex = 1
	napiAttrID      = 2
	napiAttrIRQ     = 3
)

// NAPIIRQs asks the kernel which interrupt each queue of an interface has; the result is by queue. Queues of drivers that
// do not tell, and all of kernels before 6.8, come without. It asks in the network namespace of the calling thread.
func NAPIIRQs(index, queues int) ([][]int, error) {
	out := make([][]int, queues)
	family, err := netlink.GenlFamilyGet(netdevFamily)
	if err != nil {
		return out, fmt.Errorf("ask for queues (netlink netdev): %w", err)
	}
	irqs := map[uint32]int{} // by NAPI
	err = dumpNetdev(family.ID, netdevNAPIGet, napiAttrIfindex, index, func(a map[uint16]uint32) {
		if irq, ok := a[napiAttrIRQ]; ok && irq > 0 {
			irqs[a[napiAttrID]] = int(irq)
		}
	})
	if err != nil {
		return out, err
	}
	err = dumpNetdev(family.ID, netdevQueueGet, queueAttrIfindex, index, func(a map[uint16]uint32) {
		napi, ok := a[queueAttrNAPI]
		irq, known := irqs[napi]
		if q := int(a[queueAttrID]); ok && known && q < queues && !slices.Contains(out[q], irq) {
			out[q] = append(out[q], irq)
		}
	})
	for _, list := range out {
		slices.Sort(list)
	}
	return out, err
}

// HeldQueues are the queues of an interface that AF_XDP sockets have, in either direction.
func HeldQueues(index int) (held []int, err error) {
	family, err := netlink.GenlFamilyGet(netdevFamily)
	if err != nil {
		return nil, fmt.Errorf("ask for queues (netlink netdev): %w", err)
	}
	err = dumpNetdev(family.ID, netdevQueueGet, queueAttrIfindex, index, func(a map[uint16]uint32) {
		if _, ok := a[queueAttrXSK]; ok {
			held = append(held, int(a[queueAttrID]))
		}
	})
	return held, err
}

// dumpNetdev lists objects of an interface; each is given as its attributes of four bytes, and as 0 those that
// are there without a value.
func dumpNetdev(family uint16, command uint8, ifindex int, index int, object func(map[uint16]uint32)) error {
	req := nl.NewNetlinkRequest(int(family), unix.NLM_F_DUMP)
	req.AddData(&nl.Genlmsg{Command: command, Version: 1})
	req.AddData(nl.NewRtAttr(ifindex, nl.Uint32Attr(uint32(index))))
	list, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return fmt.Errorf("ask for queues (netlink netdev): %w", err)
	}
	for _, m := range list {
		if len(m) < nl.SizeofGenlmsg {
			return fmt.Errorf("ask for queues (netlink netdev): an answer of %d bytes", len(m))
		}
		attrs, err := nl.ParseRouteAttr(m[nl.SizeofGenlmsg:])
		if err != nil {
			return fmt.Errorf("ask for queues (netlink netdev): %w", err)
		}
		values := map[uint16]uint32{}
		for _, a := range attrs {
			kind := a.Attr.Type &^ unix.NLA_F_NESTED
			switch len(a.Value) {
			case 4:
				values[kind] = binary.NativeEndian.Uint32(a.Value)
			case 0:
				values[kind] = 0
			}
		}
		object(values)
	}
	return nil
}

// QueueIRQs finds the interrupts of an interface's queues, by queue: those that the kernel tells, and those that their
// names tell. Both matter: a driver may tell of the receiving side alone.
func (s System) QueueIRQs(name, device string, index, queues int) ([][]IRQ, error) {
	out, err := s.NamedIRQs(name, device, queues)
	if told, askErr := NAPIIRQs(index, queues); askErr == nil { // else an older kernel: names are what there is
		names, _ := s.IRQNames() // without them they are numbers
		merge(out, told, names)
	}
	return out, err
}
