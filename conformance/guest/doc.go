// Command guest is process 1 of the machine in which the kernel's IPVS plays the cases of the differential test: it loads
// the modules that /modules holds, plays /cases.json, each case in a network namespace of its own, writes the results to
// the first virtio console port, and switches the machine off.
//
// After what it puts on a wire it sends one datagram which the director only forwards: everything on the way is handled
// in order on the machine's one processor, so when that datagram comes out all that the step caused has come out too.
package main
