// Package ring is the kernel boundary of the dataplane: UMEM and its frames, the four rings of an AF_XDP socket (fill,
// completion, RX, TX), and the socket itself.
//
// It is not the dataplane: it never looks into a frame.
//
// Called by worker (through worker.Port), director (opens sockets) and the benchmarks.
package ring
