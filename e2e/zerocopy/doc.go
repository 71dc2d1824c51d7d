// Package zerocopy holds the end-to-end test of AF_XDP's zero-copy mode, which no virtual NIC of this machine's kernel offers:
// the director runs in a machine of its own (package vm) whose kernel and NICs do. Clients and real servers are the lab's,
// in network namespaces of the host; the machine is in the place of the lab's director.
//
//	client ── outside bridge ── tap, 2 queues ── eth0 ┌───────────────┐
//	             │                                    │ guest: fastlb │
//	servers ── inside bridge ── tap, 2 queues ── eth1 └───────────────┘
//
// `make zerocopy` builds what it needs and runs it; by itself (`go test`) it skips.
package zerocopy
