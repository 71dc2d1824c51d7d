// Package replay runs the dataplane on captures: packets in from a file, packets out to a file, on the packets' own
// clock. It is the same worker that a live director runs; its Ports are queues in memory, its network is the
// configuration's, its time is the timestamps'.
//
//	capture ─▶ which interface? ─▶ addressed to it? ─▶ Toeplitz ─▶ worker 0…N ─▶ Port ─▶ capture
//	              (network.go)        no: passed                       ▲
//	commands ─▶ ipvsadm, tunable, interface, neighbor (run.go) ────────┤
//	timers   ─▶ connections, fragments, neighbours, estimators (engine.go)
//
// Engine is the machine: Receive takes a frame, Do a command, Advance moves time; what is sent comes out of a callback.
// Run puts files around it. One packet is handled at a time, by one worker after another, so the same input gives the
// same output whatever the number of processors. Timers run between the packets, each at its own time.
//
// The engine is for one goroutine. It reads no clock, no network and, apart from Run's files, nothing of the host.
//
// Called by cmd/fastlb and internal/scenario.
package replay
