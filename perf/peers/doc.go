// Command peers compares fastlb with others on this machine. It is a module of its own so that fastlb depends on none of
// them.
//
//	peers packets    packets a second and CPU time a packet: fastlb in DR and NAT, a bare forwarder on package ring that
//	                 swaps MAC addresses and knows nothing, github.com/asavie/xdp doing the same, nftables' DNAT
//	peers latency    how long packets take at a part of the maximum load, by workers.poll, beside the bare forwarder that
//	                 never sleeps and the kernel's routing; the CPU time of a director without traffic
//	peers disturbances  the same while the director does something else: API, /metrics, reload, listing connections
//	peers connections   a table of ten million connections: memory of director and ipvsadm -Lnc
//	peers proxies    connections and requests a second through NAT, HAProxy and nginx stream, on sites of their own: client,
//	                 director, four servers
//
// What is measured while programs that are not this one's use the CPUs is measured again (-tries). For the first four,
// every forwarder has a namespace of its own and one or two veths to the generator's:
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
//
// Latency is open loop: packet i of a measurement is due at start + i/rate and carries that time, and the time it was
// sent, in its payload; the sinks subtract. A generator that is late sends what is due at once, with the times that were
// due. It and the sinks are BPF programs, so that no process must wake up for a packet to be timed.
package main
