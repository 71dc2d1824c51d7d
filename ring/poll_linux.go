package ring

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Poller waits for packets on several sockets of one worker: the sleep of the adaptive and interrupt modes. The wait
// itself also wakes a kernel that asked for it (need_wakeup), both directions.
type Poller struct {
	fds []unix.PollFd // the sockets, then the eventfd
}

// NewPoller makes a poller over live sockets.
func NewPoller(sockets ...*Socket) (*Poller, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make poller: %w", err)
	}
	p := &Poller{}
	for _, s := range sockets {
		if s.FD() < 0 {
			return nil, errors.Join(errors.New("make poller: socket is not open"), unix.Close(event))
		}
		p.fds = append(p.fds, unix.PollFd{Fd: int32(s.FD()), Events: unix.POLLIN})
	}
	p.fds = append(p.fds, unix.PollFd{Fd: int32(event), Events: unix.POLLIN})
	return p, nil
}

// Wait sleeps until a packet is there, Wake is called, or the time is over; a negative timeout waits for ever. Completed
// transmissions do not end it, so a caller with frames outstanding gives a timeout. It returns the number of sockets that
// have packets, and does not allocate.
func (p *Poller) Wait(timeout time.Duration) (int, error) {
	var ts *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(int64(timeout))
		ts = &t
	}
	n, err := unix.Ppoll(p.fds, ts, nil)
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return 0, nil
		}
		return 0, fmt.Errorf("poll AF_XDP sockets: %w", err)
	}
	if last := &p.fds[len(p.fds)-1]; last.Revents != 0 {
		var b [8]byte
		_, _ = unix.Read(int(last.Fd), b[:]) // EAGAIN: somebody else emptied it
		n--
	}
	return n, nil
}

// Wake ends the present or the next Wait. Any goroutine may call it until Close.
func (p *Poller) Wake() error {
	one := [8]byte{1} // host order is little-endian or not: any value but 0 wakes
	if _, err := unix.Write(int(p.fds[len(p.fds)-1].Fd), one[:]); err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("wake poller: %w", err)
	}
	return nil
}

// Close ends the poller; the sockets stay open. Nobody waits.
func (p *Poller) Close() error { return unix.Close(int(p.fds[len(p.fds)-1].Fd)) }
