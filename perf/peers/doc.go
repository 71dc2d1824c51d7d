// Command peers compares what forwards packets between AF_XDP sockets on this machine: fastlb in DR mode, a bare
// forwarder on package ring that only swaps MAC addresses, and github.com/asavie/xdp doing the same. It is a module of
// its own so that fastlb depends on none of it.
//
//	 generator's namespace                    a forwarder's namespace
//	┌──────────────────────┐                 ┌────────────────────────┐
//	│ BPF_PROG_TEST_RUN,   │ gen0      eth0  │ XDP ▶ XSK ▶ forwarder  │   one veth, one queue,
//	│ live frames ─────────┼────────────────▶│                    │   │   one forwarder
//	│ XDP: count, drop ◀───┼─────────────────┼─── XSK TX ◀────────┘   │
//	└──────────────────────┘                 └────────────────────────┘
//
// Every forwarder has such a veth of its own and the same packets: UDP to a virtual service, from 1024 client ports. The
// rounds of the forwarders take turns, so that what else the machine does falls on all alike; the table shows medians.
// The generator offers more than any of them can take and has a CPU of its own, so it needs two.
//
// Packets are counted where they come back. CPU time is the forwarder's process's own during the round, by the kernel's
// accounting: user is the code in question, system is mostly the kernel's transmission in copy mode, which on a veth
// dominates. Run it with `make peers`.
package main
