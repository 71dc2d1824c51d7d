// Package flow is the connection table: keys, records, the index, expiry, the protocols' state machines and timeouts.
//
// One table serves all workers. It lives in memory that the caller gives it (a mapped file on tmpfs or hugetlbfs, or the
// heap in tests), is pointer-free and position-independent, and so outlasts the process. Look-ups never lock.
//
// It is not the policy: whether a packet may create a connection, and to which server, is decided in worker and sched.
//
// Called by worker (look up, insert, update), control (listing, timeouts) and the director (open, recover).
package flow
