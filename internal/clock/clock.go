// Package clock is the dataplane's notion of time: a number of nanoseconds that somebody above the director supplies
// once a round. Live it is CLOCK_MONOTONIC since boot plus the wall clock's offset at start, in replay the packets'
// timestamps, in tests a literal. Nothing below the director reads a clock of its own.
package clock

// Time is nanoseconds on the dataplane's clock. Zero is a valid time.
type Time int64

// Units, in nanoseconds.
const (
	Millisecond Time = 1e6
	Second      Time = 1e9
	Never       Time = 1<<63 - 1
)

// Seconds is the time as whole seconds, rounded down.
func (t Time) Seconds() int64 { return int64(t / Second) }
