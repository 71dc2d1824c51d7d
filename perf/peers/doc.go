// Command peers compares fastlb with others on this machine. It is a module of its own so that fastlb depends on none of
// them.
//
//	peers packets    packets a second and CPU time a packet: fastlb in DR and NAT, a bare forwarder on package ring that
//	                 swaps MAC addresses and knows nothing, github.com/asavie/xdp doing the same, nftables' DNAT
//
// Every forwarder has a namespace of its own and one or two veths to the generator's:
//
//	 generator's namespace                    a forwarder's namespace
//	┌──────────────────────┐                 ┌────────────────────────┐
//	│ BPF_PROG_TEST_RUN,   │ gen0.0    eth0  │ XDP ▶ XSK ▶ forwarder  │   clients' side: requests in, replies out
//	│ live frames ─────────┼────────────────▶│                  │     │
//	│ XDP: count, drop ◀───┼─────────────────┼──────────────────┤     │   one arm: out where they came in
//	│                      │ gen0.1    eth1  │                  │     │
//	│ XDP: count, drop ◀───┼─────────────────┼──────────────────┘     │   two arms: servers' side, requests out, replies in
//	└──────────────────────┘                 └────────────────────────┘
//
// The veths have one queue, and every forwarder one thread, on CPU 1; the generator is on CPU 0 and has it to itself. A
// veth's reception runs where the packet was sent, so an AF_XDP forwarder's XDP program and its copy into the UMEM are on
// CPU 0; the kernel's own forwarding is handed over to CPU 1 (RPS). Replies come from the server that the flow's first
// packets were sent to: the sinks learn it before the first round.
//
// The rounds of the forwarders take turns, so that what else the machine does falls on all alike. Packets are counted
// where they come back.
package main
