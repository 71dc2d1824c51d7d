// Package follow keeps a neigh.Snapshot in step with the kernel, by netlink: links, addresses, the local and main
// routing tables and the neighbours. It asks the kernel to resolve neighbours that the dataplane lacks and keeps those
// in use from going stale unnoticed. It never answers ARP and never changes an address or a route: those are the kernel's.
//
//	kernel ──events──▶ reader ──▶ loop (owns the neigh.Builder) ──▶ Snapshot ──▶ director publishes it to the workers
//	   ▲                            ▲
//	   └──── NTF_USE ───────────────┘◀── Ask (workers, never blocks)
//
// Neighbours are followed event by event. Links, addresses and routes are dumped anew when anything about them changed,
// a burst of changes once, because the kernel withdraws routes of a link that goes down without saying so. Events lost
// to a full socket buffer (ENOBUFS) lead to a dump of everything.
//
// Called by director.
package follow
