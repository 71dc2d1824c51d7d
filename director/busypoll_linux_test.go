package director

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestBusyPollState(t *testing.T) {
	refused := errors.New("set SO_PREFER_BUSY_POLL: not supported")
	for _, c := range []struct {
		b          busyPoll
		polled, of int
		refused    error
		want       string
	}{
		{busyPoll{}, 0, 2, nil, ""},
		{busyPoll{why: "virtual"}, 0, 2, nil, "off: virtual"},
		{busyPoll{wanted: true}, 0, 2, nil, "waiting for the first packet"},
		{busyPoll{wanted: true}, 0, 2, refused, "off: " + refused.Error()},
		{busyPoll{wanted: true, deferred: true}, 2, 2, nil, "on"},
		{busyPoll{wanted: true, deferred: true}, 1, 2, errNoNAPI, "on for 1 of 2 queues"},
		{busyPoll{wanted: true, why: "read-only"}, 2, 2, nil, "on, but interrupts are not held off: read-only"},
	} {
		if got := c.b.state(c.polled, c.of, c.refused); got != c.want {
			t.Errorf("%+v: %q, want %q", c, got, c.want)
		}
	}
}

// Who asks for interrupts gets interrupts, and so does a veth unless it is asked for by name; then its sockets have the
// options, and where the kernel finds nothing to poll no call is made in vain and packets come as ever.
func TestBusyPollOfVirtualInterfaces(t *testing.T) {
	for _, mode := range []struct {
		poll, busyPoll string
		prefer         int
		state          string // its beginning
	}{
		{"interrupt", "auto", 0, ""}, {"adaptive", "auto", 0, ""}, {"busy", "off", 0, ""},
		{"busy", "auto", 0, "off: a virtual interface"}, {"busy", "on", 1, "off: the kernel does not know"}, {"adaptive", "on", 1, "off: the kernel does not know"},
	} {
		t.Run(mode.poll+" "+mode.busyPoll, func(t *testing.T) {
			s := newSite(t)
			s.config.Workers.Poll, s.config.Workers.BusyPoll = mode.poll, mode.busyPoll
			c := s.datagrams()
			d := s.start()
			for _, k := range d.runners[0].sockets {
				if v, err := unix.GetsockoptInt(k.FD(), unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL); v != mode.prefer || err != nil {
					t.Errorf("SO_PREFER_BUSY_POLL is %d, %v", v, err)
				}
				if v, err := unix.GetsockoptInt(k.FD(), unix.SOL_SOCKET, unix.SO_BUSY_POLL); (v > 0) != (mode.prefer > 0) || err != nil {
					t.Errorf("SO_BUSY_POLL is %d, %v", v, err)
				}
			}
			for range 10 {
				ask(t, c)
			}
			if d.runners[0].sockets[0].Counters().NAPI.Load() > 0 {
				t.Skip("this kernel knows what polls a veth: the machine of e2e/zerocopy shows what follows")
			}
			var st Status
			for deadline := time.Now().Add(10 * time.Second); ; {
				var err error
				st, err = d.Status()
				ok(t, err)
				got := st.Interfaces[0].BusyPoll
				if strings.HasPrefix(got, mode.state) && (mode.state != "" || got == "") {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("state %q, want %q", got, mode.state)
				}
				rest(20 * time.Millisecond)
			}
			if w := st.Workers[0]; w.Syscalls.Receive != 0 || w.Queues[0].NAPI != 0 {
				t.Errorf("%+v of nothing, queue %+v", w.Syscalls, w.Queues[0])
			}
		})
	}
}
