package xdp

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Of the generic netlink family "netdev" (linux/netdev.h, Linux 6.3).
const (
	netdevFamily        = "netdev"
	netdevGet           = 1 // NETDEV_CMD_DEV_GET
	netdevIndex         = 1 // NETDEV_A_DEV_IFINDEX
	netdevFeatures      = 3 // NETDEV_A_DEV_XDP_FEATURES
	netdevSegments      = 4 // NETDEV_A_DEV_XDP_ZC_MAX_SEGS
	featureReceiveSegs  = 1 << 5
	featureTransmitSegs = 1 << 6
)

// ReadFeatures asks the kernel what the driver of an interface of the calling thread's network namespace can do.
func ReadFeatures(index int) (f Features, err error) {
	family, err := netlink.GenlFamilyGet(netdevFamily)
	if err != nil {
		return f, fmt.Errorf("ask for XDP features (Linux 6.3): %w", err)
	}
	req := nl.NewNetlinkRequest(int(family.ID), 0)
	req.AddData(genericHeader{netdevGet, 1})
	req.AddData(nl.NewRtAttr(netdevIndex, nl.Uint32Attr(uint32(index))))
	answers, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return f, fmt.Errorf("ask for XDP features: %w", err)
	}
	for _, a := range answers {
		if len(a) < nl.SizeofGenlmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(a[nl.SizeofGenlmsg:])
		if err != nil {
			return f, fmt.Errorf("read XDP features: %w", err)
		}
		for _, attr := range attrs {
			switch {
			case attr.Attr.Type == netdevFeatures && len(attr.Value) >= 8:
				bits := binary.NativeEndian.Uint64(attr.Value)
				f.ReceiveSegments, f.TransmitSegments = bits&featureReceiveSegs != 0, bits&featureTransmitSegs != 0
			case attr.Attr.Type == netdevSegments && len(attr.Value) >= 4:
				f.ZeroCopySegments = int(binary.NativeEndian.Uint32(attr.Value))
			}
		}
	}
	return f, nil
}

// genericHeader is struct genlmsghdr: command, version, and two reserved bytes that must be zero.
type genericHeader [2]byte

func (h genericHeader) Len() int { return unix.GENL_HDRLEN }

func (h genericHeader) Serialize() []byte { return []byte{h[0], h[1], 0, 0} }
