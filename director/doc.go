// Package director owns the desired state of a live director: it turns the configuration and what ipvsadm asks for into
// operations of package control, attaches the interfaces, opens the sockets, runs the workers and publishes to them, as
// one immutable snapshot, what they are to do.
//
//	config file ─┐                       ┌─▶ xdp rules (what to take from the wire)
//	SIGHUP ──────┼─▶ director's goroutine ┼─▶ worker.Snapshot (one atomic pointer)
//	api ─────────┤    (control, neigh)    ├─▶ flows.services (what ipvsadm made, for the next start)
//	netlink ─────┘                       └─▶ Status (api, metrics, fastlb status)
//
// One goroutine owns control; everything else asks it through a channel and reads counters that workers write for
// themselves. Workers are goroutines locked to pinned threads. On Stop every interface is left as it was found.
//
// Called by cmd/fastlb. It listens nowhere: api and metrics do.
package director
