package director

import (
	"fmt"
	"time"

	"github.com/fastlb/fastlb/internal/clock"
)

// pollMode is how a worker waits for packets.
type pollMode uint8

const (
	pollAdaptive  pollMode = iota // spins while the next packet is likely to come soon, then sleeps
	pollBusy                      // never sleeps
	pollInterrupt                 // sleeps as soon as nothing is there
)

func parsePoll(s string) (pollMode, error) {
	switch s {
	case "adaptive", "":
		return pollAdaptive, nil
	case "busy":
		return pollBusy, nil
	case "interrupt":
		return pollInterrupt, nil
	}
	return 0, fmt.Errorf("workers.poll: %q is not busy, adaptive or interrupt", s)
}

func (m pollMode) String() string { return [...]string{"adaptive", "busy", "interrupt"}[m] }

const (
	spinTime     = 50 * time.Microsecond  // the longest that an adaptive worker waits awake: about what sleeping and waking cost
	wakeInterval = 100 * time.Millisecond // an idle worker looks after timers so often
	sendInterval = time.Millisecond       // and so often, at first, while something is still to be sent
	restTime     = 10 * time.Millisecond  // after waits that end without a packet again and again
	restAfter    = 16
)

// pace decides when a worker that finds nothing to do sleeps, and for how long. It has no clock of its own.
//
// An adaptive worker keeps the mean of the pauses between rounds that had packets. While that mean is within spinTime the
// next packet is worth waiting for awake; where packets come more seldom, each would only cost spinTime on top of the sleep
// that follows anyway, so the worker sleeps at once. The mean forgets: after some eight short pauses it is short again.
type pace struct {
	mode  pollMode
	last  clock.Time // end of the latest round that had packets
	mean  clock.Time // of pauses, each counted as longestPause at most
	retry time.Duration
}

// longestPause bounds what one pause adds to the mean, so that a long silence is forgotten as fast as a short one.
const longestPause = 4 * clock.Time(spinTime)

// begin is called before the first round.
func (p *pace) begin(now clock.Time) { p.last, p.mean, p.retry = now, 0, sendInterval }

// worked notes a round with packets, from start to end.
func (p *pace) worked(start, end clock.Time) {
	pause := min(max(start-p.last, 0), longestPause)
	p.mean += (pause - p.mean) / 8
	p.last, p.retry = end, sendInterval
}

// sleeps tells whether a worker that has just had an empty round, over at now, is to sleep.
func (p *pace) sleeps(now clock.Time) bool {
	switch p.mode {
	case pollBusy:
		return false
	case pollInterrupt:
		return true
	}
	return p.mean > clock.Time(spinTime) || now-p.last >= clock.Time(spinTime)
}

// timeout is how long to sleep at now, where the next timer is due at wake. What the kernel has not taken off a TX ring yet
// (unsent) is tried again soon, but ever more seldom: a peer that takes nothing must not keep a CPU busy.
func (p *pace) timeout(now, wake clock.Time, unsent bool) time.Duration {
	t := wakeInterval
	if wake < clock.Never {
		t = min(t, max(time.Duration(wake-now), 0))
	}
	if unsent {
		t = min(t, p.retry)
		p.retry = min(2*p.retry, wakeInterval)
	}
	return t
}
