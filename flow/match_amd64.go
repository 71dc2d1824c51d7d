//go:build !race

package flow

import "golang.org/x/sys/cpu"

// hasVector says that matchVector may be used.
var hasVector = cpu.X86.HasAVX2 && cpu.X86.HasBMI2

// hashVector is hashEach and the prefetch of the buckets in one loop: multiplications that leave the flags alone, and a
// bucket asked for as soon as it is known.
//
//go:noescape
func hashVector(p *Probe, n int, s *secrets, buckets uint64, index uintptr)

// matchAVX2 is matchWords by vector instructions: the eight tags of a bucket in two comparisons, and the prefetches in
// the same loop. Measured against the plain loop in docs/performance/flow-tries.md.
//
//go:noescape
func matchAVX2(p *Probe, n int, recs uintptr)

func matchVector(p []Probe, recs uintptr) { matchAVX2(&p[0], len(p), recs) }
