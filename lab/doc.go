// Package lab builds a whole LVS site on one machine: a client, a director and three real servers, each in a network
// namespace of its own, on a virtual switch. It serves the demo (fastlb lab run), learning (fastlb lab up) and the
// end-to-end tests. Packets cross real interfaces and the real AF_XDP; only the cable is missing.
//
//	     client .100                    one network namespace a box
//	        │
//	━━━━━━━━┷━━━━┯━━━━━━━━━━┯━━━━━━━━━━┯━━━━━━━━━━┯━━━  outside  192.0.2.0/24  2001:db8::/64
//	          eth0 .1    eth0 .11   eth0 .12   eth0 .13
//	        ┌────┴────┐ ┌───┴───┐  ┌───┴───┐  ┌───┴───┐
//	        │director │ │ web1  │  │ web2  │  │ web3  │
//	        └────┬────┘ └───┬───┘  └───┬───┘  └───┬───┘
//	          eth1 .1    eth1 .11   eth1 .12   eth1 .13
//	━━━━━━━━━━━━━┷━━━━━━━━━━┷━━━━━━━━━━┷━━━━━━━━━━┷━━━  inside   10.0.0.0/24   fd00::/64
//
// One site shows every forwarding method at once:
//
//   - NAT is two-armed. The servers' inside addresses are the real servers, and whatever leaves from such an address goes
//     back through the director (a routing rule by source, as on a multi-homed server).
//   - DR is one-armed. The servers' outside addresses are the real servers, the VIP is on their lo and hidden from ARP,
//     and the answer goes straight to the client.
//   - A tunnel ends at an inside address, of either family, and is unwrapped by a small process of the lab's own
//     (Decapsulate), so that the kernel needs no tunnel device. The answer again goes straight to the client.
//
// Plan says what a site is and touches nothing; Site makes a plan real on Linux and takes it away again. The director
// itself is the fastlb binary, run and spoken to by its command line alone, as any user would.
package lab
