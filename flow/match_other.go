//go:build !amd64 || race

package flow

// hasVector is false where there is no vector routine; and under the race detector, which does not see what assembly
// reads.
const hasVector = false

func matchVector([]Probe, uintptr) {}

func hashVector(*Probe, int, *secrets, uint64, uintptr) {}
