//go:build race

package store

import "sync/atomic"

// Store64 is an atomic store in this build.
func Store64(p *int64, v int64) { atomic.StoreInt64(p, v) }

// Store32 is an atomic store in this build.
func Store32(p *uint32, v uint32) { atomic.StoreUint32(p, v) }
