// Package ring is the kernel boundary of the dataplane: UMEM and its frames, the four rings of an AF_XDP socket, and the
// socket itself. It never looks into a frame, decides nothing and logs nothing.
//
// Called by worker (through worker.Port), director (opens sockets, polls) and the benchmarks. First file to open:
// consumer.go; the logic on top of the rings is socket.go, portable; what needs the kernel is in open_linux.go and
// wake_linux.go, and all unsafe code in map_unsafe.go.
//
// # The four rings
//
// Each is an array of slots with a producer and a consumer index. Indexes run freely modulo 2^32; a store of an index
// publishes what was written, or gives back what was read, before it.
//
//	ring        slots              producer  consumer  says
//	fill        frame addresses    we        kernel    receive into these
//	RX          descriptors        kernel    we        these were received
//	TX          descriptors        we        kernel    send these
//	completion  frame addresses    kernel    we        these were sent
//
// The fill and TX rings have a flags word in which the kernel asks for a wakeup (need_wakeup); Socket.Kick gives it.
//
// # Who owns a frame
//
// A frame has one owner at any time. A worker's sockets share its UMEM, so a frame that came in by one interface goes out by
// another without a copy, and comes back by the completion ring of the socket that sent it. Where drivers cannot share,
// there are several UMEMs in one memory (parts.go), and ports that copy between them (crossing.go).
//
//	         Refill                      driver                     Receive
//	+------+ ------> fill ring +-----------+ ------> RX ring +--------+
//	| free |                   | kernel-RX |                 | worker |
//	+------+ <-----------------+-----------+---------------- +--------+
//	   ^  \        Frames.Put: the packet was dropped          |   ^
//	   |   \-- Frames.Get: the worker makes a packet ----------+---/
//	   |                                                       | Transmit
//	   |   Complete                +-----------+               v
//	   +------------ completion    | kernel-TX | <--------- TX ring
//	                 ring  <------ +-----------+
//
// Built with the tag fastlb_debug every move is checked against this graph, and a wrong one panics.
//
// A packet that is longer than a frame lies in several, a chain of descriptors (chain.go), which a socket with KeepChains
// gives and takes whole.
//
// # Memory order
//
// Go's atomics are sequentially consistent, which is more than the rings need: on amd64 a store is an XCHG (some 20
// cycles). So indexes are stored once a batch, never per descriptor, and the other side's index, whose cache line it
// keeps writing, is loaded only when the copy of the last time does not suffice.
//
// # Without a kernel
//
// NewMemory makes the same Socket on plain memory, and the Kernel that plays the other half: `fastlb bench` measures the
// real worker with it, the race detector can see it, and ringtest makes it misbehave.
package ring
