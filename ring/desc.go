package ring

// Desc is one packet in a frame: struct xdp_desc of linux/if_xdp.h, 16 bytes.
type Desc struct {
	Addr    uint64 // offset of the packet's first byte within the UMEM
	Len     uint32 // bytes
	Options uint32 // XDP_PKT_CONTD and the like
}

// Frame geometry. A received packet begins Headroom bytes into its frame, so an encapsulation of up to Headroom bytes
// goes in front without a copy.
const (
	FrameSize = 4096
	Headroom  = 256 // XDP_PACKET_HEADROOM: what the kernel leaves free in every received frame
	MaxPacket = FrameSize - Headroom
)
