// Package store writes words that other cores read at any time, on paths where an exchange instruction would show.
//
// Go's atomic stores are sequentially consistent: XCHG on amd64, some 20 cycles that nothing overtakes. A connection's
// deadline or packet count needs none of that: the last writer wins, and a reader is content with a value that is a few
// nanoseconds old. On amd64 and arm64 an aligned plain store of a word is never torn, so that is what Store64 and Store32
// compile to. The race detector knows nothing of "never torn", so under -race they are the real atomic stores, and every
// other access to the same word must be atomic (atomic.Load…, CompareAndSwap…) in both builds.
//
// Nothing may be published by these stores: they order nothing.
package store
