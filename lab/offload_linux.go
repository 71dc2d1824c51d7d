package lab

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// checksumOffloads are the features by which a veth leaves the transport checksum to a NIC that is not there. AF_XDP
// hands the unfinished packet over and nothing tells it so (design: an end-to-end path over veths must switch them off
// on the sending ends). Segmentation offload depends on them and goes too.
var checksumOffloads = []string{"tx-checksum-ip-generic", "tx-checksum-sctp"}

// checksumInSoftware makes the calling thread's namespace compute transport checksums before a packet leaves by the
// named interface: ETHTOOL_MSG_FEATURES_SET of linux/Documentation/networking/ethtool-netlink.rst.
func checksumInSoftware(ifname string) error {
	family, err := netlink.GenlFamilyGet(unix.ETHTOOL_GENL_NAME)
	if err != nil {
		return fmt.Errorf("ethtool netlink (Linux 5.6 and newer): %w", err)
	}
	header := nl.NewRtAttr(unix.ETHTOOL_A_FEATURES_HEADER|unix.NLA_F_NESTED, nil)
	header.AddRtAttr(unix.ETHTOOL_A_HEADER_DEV_NAME, nl.ZeroTerminated(ifname))
	wanted := nl.NewRtAttr(unix.ETHTOOL_A_FEATURES_WANTED|unix.NLA_F_NESTED, nil)
	bits := wanted.AddRtAttr(unix.ETHTOOL_A_BITSET_BITS|unix.NLA_F_NESTED, nil)
	for _, feature := range checksumOffloads { // named without a value: to be off
		bit := bits.AddRtAttr(unix.ETHTOOL_A_BITSET_BITS_BIT|unix.NLA_F_NESTED, nil)
		bit.AddRtAttr(unix.ETHTOOL_A_BITSET_BIT_NAME, nl.ZeroTerminated(feature))
	}
	request := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	request.AddData(genericHeader{command: unix.ETHTOOL_MSG_FEATURES_SET, version: unix.ETHTOOL_GENL_VERSION})
	request.AddData(header)
	request.AddData(wanted)
	if _, err := request.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		return fmt.Errorf("switch checksum offload of %s off: %w", ifname, err)
	}
	return nil
}

// genericHeader is struct genlmsghdr.
type genericHeader struct{ command, version uint8 }

func (h genericHeader) Len() int { return unix.GENL_HDRLEN }

func (h genericHeader) Serialize() []byte {
	b := []byte{h.command, h.version}
	return binary.NativeEndian.AppendUint16(b, 0)
}
