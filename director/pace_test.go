package director

import (
	"testing"
	"time"

	"github.com/fastlb/fastlb/internal/clock"
)

const micro = clock.Time(time.Microsecond)

// traffic lets packets come every pause for a while, each handled within a microsecond, and returns the time.
func (p *pace) traffic(now clock.Time, pause time.Duration, n int) clock.Time {
	for range n {
		now += clock.Time(pause)
		p.worked(now, now+micro)
		now += micro
	}
	return now
}

func TestPaceSleeps(t *testing.T) {
	for _, c := range []struct {
		what    string
		mode    pollMode
		pauses  []time.Duration // 50 packets each
		empty   time.Duration   // since the last packet
		asleep  bool
		because string
	}{
		{"busy", pollBusy, []time.Duration{time.Second}, time.Hour, false, "never"},
		{"interrupt", pollInterrupt, []time.Duration{time.Microsecond}, 0, true, "at once"},
		{"adaptive, many packets", pollAdaptive, []time.Duration{10 * time.Microsecond}, 49 * time.Microsecond, false, "the next one is near"},
		{"adaptive, many packets and then none", pollAdaptive, []time.Duration{10 * time.Microsecond}, spinTime, true, "it was not near"},
		{"adaptive, few packets", pollAdaptive, []time.Duration{time.Millisecond}, 0, true, "spinning would be in vain"},
		{"adaptive, after a long silence", pollAdaptive, []time.Duration{time.Millisecond, time.Hour, 10 * time.Microsecond}, 0, false, "the silence is forgotten"},
		{"adaptive, at the start", pollAdaptive, nil, 0, false, "nothing is known"},
		{"adaptive, nothing since the start", pollAdaptive, nil, spinTime, true, "nothing came"},
	} {
		p := pace{mode: c.mode}
		now := clock.Second
		p.begin(now)
		for _, pause := range c.pauses {
			now = p.traffic(now, pause, 50)
		}
		if got := p.sleeps(now + clock.Time(c.empty)); got != c.asleep {
			t.Errorf("%s: sleeps %v, want %v: %s", c.what, got, c.asleep, c.because)
		}
	}
	// One long silence costs the traffic that follows a few sleeps, no more.
	p := pace{mode: pollAdaptive}
	p.begin(0)
	now := p.traffic(0, time.Minute, 100)
	packets := 0
	for ; p.sleeps(now); packets++ {
		now = p.traffic(now, 10*time.Microsecond, 1)
	}
	if packets < 2 || packets > 16 {
		t.Errorf("awake after %d packets", packets)
	}
}

func TestPaceTimeout(t *testing.T) {
	p := pace{mode: pollAdaptive}
	p.begin(0)
	now := clock.Second
	for _, c := range []struct {
		what   string
		wake   clock.Time
		unsent bool
		want   time.Duration
	}{
		{"no timer", clock.Never, false, wakeInterval},
		{"a timer soon", now + 5*micro, false, 5 * time.Microsecond},
		{"a timer late", now + clock.Second, false, wakeInterval},
		{"a timer that is due", now - micro, false, 0},
		{"something to send", clock.Never, true, time.Millisecond},
		{"still", clock.Never, true, 2 * time.Millisecond},
		{"still", clock.Never, true, 4 * time.Millisecond},
	} {
		if got := p.timeout(now, c.wake, c.unsent); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	for range 20 {
		p.timeout(now, clock.Never, true)
	}
	if got := p.timeout(now, clock.Never, true); got != wakeInterval {
		t.Errorf("a peer that never takes anything is tried every %v", got)
	}
	p.worked(now, now)
	if got := p.timeout(now, clock.Never, true); got != sendInterval {
		t.Errorf("after packets it is tried after %v", got)
	}
}
