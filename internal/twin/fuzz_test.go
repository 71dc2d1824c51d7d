package twin

import "testing"

// FuzzWorkerAgrees compares the worker with the twin on sequences that the fuzzer steers: data are the generator's first
// throws, seed the rest.
func FuzzWorkerAgrees(f *testing.F) {
	f.Add(uint64(1), []byte{})
	f.Add(uint64(2), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		events := sequence(data, seed, 20+len(data)/8)
		if _, what := disagreement(t, newFast, events); what != "" {
			report(t, newFast, "fuzz", events)
		}
	})
}
