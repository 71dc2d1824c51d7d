//go:build !race

package store

// Store64 stores an aligned word that others read atomically; it orders nothing.
func Store64(p *int64, v int64) { *p = v }

// Store32 stores an aligned word that others read atomically; it orders nothing.
func Store32(p *uint32, v uint32) { *p = v }
