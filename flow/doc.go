// Package flow is the connection table: keys, records, the index, expiry, the protocols' state machines and timeouts.
//
// One table serves all workers. It lives in memory that the caller gives it (a mapped file on tmpfs or hugetlbfs, nameless
// memory, or the heap in tests), is pointer-free and position-independent, and so outlasts the process. Look-ups never
// lock, and neither does anything else that a worker calls.
//
// It is not the policy: whether a packet may create a connection, and to which server, is decided in worker and sched.
// Called by worker (look up, insert, update), control (listing, timeouts) and the director (open, recover).
//
// # Memory
//
//	Map → file:   | page: regions | flows … | servers … | counters … |       statefile.go
//	New, Open →   | page: header | index | sweep | records |                 header.go
//	index:        buckets of 64 bytes, 8 words: tag, sort, Ref               index.go
//	sweep:        4 bytes a record: coarse deadline, or free-list link       expiry.go
//	records:      128 bytes: Conn                                            record.go
//
// At most 160 bytes a connection, all told. Free lists, round counters and replay's heap of deadlines are the process's
// own; Open rebuilds them.
//
// # One look-up
//
//	hash key ──▶ bucket ──▶ tags equal? ──▶ record ──▶ keys equal? ──▶ Ref, Dir
//	HashAll      Prefetch   Match           (prefetch) Resolve
//
// A batch goes through it stage by stage, so that a batch, not a packet, waits for memory. A client's packet and a NAT
// server's reply are found by the same look-up: a NAT connection has a word for each of its two keys. Templates have
// words of a sort of their own. The reply of other methods is found by LookupReply.
//
// # One record's life
//
//	free ──Alloc──▶ private ──Insert──▶ published ──Remove──▶ limbo ──grace period──▶ free
//	                   └──Free, lost Insert──▶                 every worker began a round
//
// Words are published and removed by compare-and-swap, the client's side first: a record is a connection exactly while
// its client-side word is decided and FlagHashed is set. That is what Open goes by after a crash. Insert (insert.go) explains why of two equal connections one alone is ever found, Sweep (expiry.go) why a
// deadline is not slept over, collect (epoch.go) why no record changes under a worker that holds it.
//
// A worker that stops in the middle of a round (descheduled, say) holds up the reuse of records that were removed
// meanwhile, and nothing else: with a million removals a second and a stop of 10 ms that is 10,000 records.
//
// # Rules for callers
//
// A Ref or *Conn is good for the caller's round: until its next BeginRound or GoIdle. Flags change by CASFlags alone;
// Deadline by Touch (later) or Shorten (perhaps nearer); Hop, InPkts, Timeout by internal/store; keys by Rekey.
// The control path, which has no rounds, brackets its work by BeginRound(ControlWorker()) and GoIdle.
package flow
