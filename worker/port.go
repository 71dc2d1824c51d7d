package worker

import (
	"net/netip"

	"github.com/fastlb/fastlb/ring"
)

// Port is one NIC queue of this worker. Calls move batches; descriptors are the caller's slices.
type Port interface {
	// Receive takes up to len(d) received frames, which are the caller's from then on, and returns how many.
	Receive(d []ring.Desc) int
	// Transmit queues frames for sending, in order, and returns how many it accepted; the rest stays the caller's.
	Transmit(d []ring.Desc) int
	// Complete gives frames whose transmission has ended back to f and returns how many.
	Complete(f *ring.Frames) int
	// Refill moves free frames to the fill ring, as many as fit, and returns how many.
	Refill(f *ring.Frames) int
	// Kick wakes the kernel where it asked for that.
	Kick()
}

// Passer takes packets that turned out to be the kernel's. The packet begins with its IP header and is valid only during
// the call. frames is the number of received frames that it stands for. False: no room, the packet is lost and counted.
type Passer interface {
	Pass(iface int, ip []byte, frames int) bool
}

// Asker asks for the resolution of a neighbour; it never blocks. The answer comes as a new Snapshot.
type Asker interface {
	Ask(iface int, next netip.Addr)
}
