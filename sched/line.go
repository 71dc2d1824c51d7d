package sched

import "sync/atomic"

// line begins a scheduler whose state fits into the cache line of the word that serialises it: a choice then fetches one
// line from the worker that chose before, not two. The whole is a cache line or two, which the allocator aligns.
type line struct{ busy atomic.Uint32 }

// Word is the word that service.Service.Pick locks.
func (l *line) Word() *atomic.Uint32 { return &l.busy }
