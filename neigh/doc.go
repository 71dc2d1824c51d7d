// Package neigh is the network as the dataplane sees it: interfaces, local addresses, routes and neighbours in one
// immutable snapshot, with pure look-ups. The live follower (netlink) is the sub-package follow; the static twin, for
// replay and tests, is Static here.
//
// Called by worker (resolve), control and replay (static), director (through follow).
package neigh
