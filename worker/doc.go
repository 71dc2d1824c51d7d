// Package worker is the dataplane's loop: one worker a queue, one turn a round. A packet's way through it:
//
//	RX ring ▶ receive ▶ parse ▶ classify ▶ lookup ──hit──▶ resolve ▶ rewrite ▶ transmit ▶ TX ring
//	 port.go   round.go                      │    established.go                 output.go
//	                                         └─miss─▶ schedule ▶ insert ─▶ the same
//	                                                  miss.go
//
// A round works in passes over a batch (design: batches hide memory): all frames are parsed, all connections looked up
// with prefetching, then each packet is decided and rewritten in the order of arrival, then each port transmits.
//
// Established packets never leave established.go. Everything rarer leaves by one call into another file: opening
// connections (miss.go), ICMP errors about connections (icmp.go), errors that the director sends (icmpsend.go), fragments
// (fragment.go), packets of several frames (chain.go), next hops without a MAC (hold.go), states, counts and expiry (state.go).
//
// A worker has one owner goroutine, never locks, never allocates per packet and reads no clock: time is Round's
// argument. What it is not: it opens no sockets and follows no network; live, replay and bench give it their Ports and
// publish Snapshots.
package worker
