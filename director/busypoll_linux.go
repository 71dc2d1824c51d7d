package director

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/tune"
	"github.com/fastlb/fastlb/xdp"
)

// Busy polling: a worker's own system calls do what else the NIC's interrupt would start, on the worker's CPU and when the
// worker is ready for it. The kernel's defaults suit a process that sleeps: 8 packets a call, and an interrupt for each
// batch that wakes nobody.
const (
	busyPollTime   = 20 * time.Microsecond // what counts is that it is not 0: calls that do not wait look once
	busyPollBudget = 64                    // packets a call: what an interrupt would handle at a time, and a batch by default

	// The interface's settings meanwhile. While the worker polls, interrupts stay off; when it has not for flushTimeout, the
	// kernel looks itself, and after as many looks in vain as deferInterrupts, interrupts are on again: so a worker that
	// sleeps or has died holds nothing up for longer than that. The values are those of the kernel's documentation (napi.rst).
	deferInterrupts = "2"
	flushTimeout    = "200000" // nanoseconds
)

// settingsOfDeferral are files of an interface below /sys/class/net, with their values.
var settingsOfDeferral = []struct{ file, value string }{{"gro_flush_timeout", flushTimeout}, {"napi_defer_hard_irqs", deferInterrupts}}

// busyPoll is an interface's part in it. It belongs to the loop.
type busyPoll struct {
	wanted   bool
	deferred bool
	why      string // why it is not wanted, or why interrupts cannot be held off
	said     string // the state that was logged last
}

// planBusyPoll decides for an interface that is attached whether its sockets are to be polled.
func (d *Director) planBusyPoll(n *attached) ring.BusyPoll {
	w := &d.cfg.Workers
	b := &n.busyPoll
	switch {
	case w.BusyPoll == "off" || w.BusyPoll != "on" && w.Poll != "busy":
		return ring.BusyPoll{}
	case n.attachment.Mode() == xdp.Generic:
		b.why = "in generic mode there is nothing that a socket could poll"
	case w.BusyPoll != "on" && d.deviceOf(n.name) == "":
		b.why = "a virtual interface has no interrupts to hold off: its packets are delivered by their senders"
	default:
		b.wanted = true
		return ring.BusyPoll{Time: busyPollTime, Budget: busyPollBudget, Prefer: true}
	}
	return ring.BusyPoll{}
}

// followBusyPoll holds interrupts off once a socket knows what to poll, and says what became of it: at the start, and again
// from time to time, since some kernels know only after the first packet.
func (d *Director) followBusyPoll() {
	for i, n := range d.nics {
		polled, of, refused := d.polled(i)
		if b := &n.busyPoll; polled > 0 && !b.deferred && b.why == "" {
			if err := d.deferInterrupts(n); err != nil {
				b.why = err.Error()
			}
			b.deferred = b.why == ""
		}
		if state := n.busyPoll.state(polled, of, refused); state != n.busyPoll.said {
			n.busyPoll.said = state
			d.log.Info("busy polling", zap.String("interface", n.name), zap.String("state", state))
		}
	}
}

// polled counts the sockets of a NIC that poll their queue, and all of them. refused is why they cannot: the kernel's word,
// or that it knows of nothing to poll; nil while that is open.
func (d *Director) polled(nic int) (polled, of int, refused error) {
	for _, r := range d.runners {
		at := 0
		for i, queues := range r.seat.queues {
			if i != nic {
				at += len(queues)
				continue
			}
			for _, s := range r.sockets[at : at+len(queues)] {
				of++
				err := s.BusyPollRefused()
				switch id := s.Counters().NAPI.Load(); {
				case id > 0:
					polled++
				case id == ring.NoNAPI:
					err = errNoNAPI
				}
				refused = cmp.Or(refused, err)
			}
		}
	}
	return polled, of, refused
}

var errNoNAPI = errors.New("the kernel does not know what polls its queues: the driver does not say (a veth of Linux 6.13 and newer)")

// state puts it into words; "" where nobody asked for busy polling.
func (b *busyPoll) state(polled, of int, refused error) string {
	switch {
	case !b.wanted && b.why == "":
		return ""
	case !b.wanted:
		return "off: " + b.why
	case polled == 0 && refused != nil:
		return "off: " + refused.Error()
	case polled == 0:
		return "waiting for the first packet"
	}
	s := "on"
	if polled < of {
		s = fmt.Sprintf("on for %d of %d queues", polled, of)
	}
	if !b.deferred {
		s += ", but interrupts are not held off: " + b.why
	}
	return s
}

// deferInterrupts changes an interface's settings while the director runs.
func (d *Director) deferInterrupts(n *attached) error {
	if d.keeper == nil {
		return errors.New("what is to be put back cannot be written down")
	}
	if err := d.shown(n.name); err != nil {
		return err
	}
	var list []tune.Change
	for _, s := range settingsOfDeferral {
		list = append(list, tune.Change{Setting: tune.Live.AttributeOf(n.name, n.index, s.file), Value: s.value})
	}
	failed, err := d.keeper.Change(list)
	if err = cmp.Or(err, errors.Join(failed...)); errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: Linux 5.8 and newer have it", err)
	} else if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		err = fmt.Errorf("%w: /sys cannot be written here", err)
	}
	return err
}

// shown tells whether /sys shows an interface of the director's network namespace.
func (d *Director) shown(name string) error {
	s := d.net.Snapshot()
	i, ok := s.InterfaceByName(name)
	if !ok {
		return fmt.Errorf("interface %s is gone", name)
	}
	return tune.Live.Shows(name, s.Interfaces[i].Index, s.Interfaces[i].MAC)
}

// indexOf is the kernel's number of an interface by its name.
func (d *Director) indexOf(name string) (int, bool) {
	s := d.net.Snapshot()
	i, ok := s.InterfaceByName(name)
	if !ok {
		return 0, false
	}
	return s.Interfaces[i].Index, true
}

// openDeferral makes a setting of ours of its key, for what a director that was killed left; nil: it is none.
func (d *Director) openDeferral(key string) tune.Setting {
	return tune.Live.OpenAttribute(key, func(name string) (int, bool) {
		index, ok := d.indexOf(name)
		return index, ok && d.shown(name) == nil
	})
}
