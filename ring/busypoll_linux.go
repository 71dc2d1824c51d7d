package ring

import "golang.org/x/sys/unix"

// setBusyPoll sets the busy-poll options that were asked for. refused says why the kernel did not take them; the socket
// then works as one without.
func (s *Socket) setBusyPoll() (set bool, refused error) {
	b := s.config.BusyPoll
	if b.Time <= 0 {
		return false, nil
	}
	prefer := 0
	if b.Prefer {
		prefer = 1
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL, prefer); err != nil {
		return false, explain("set SO_PREFER_BUSY_POLL (Linux 5.11)", err)
	}
	if b.Budget > 0 {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL_BUDGET, b.Budget); err != nil {
			return false, explain("set SO_BUSY_POLL_BUDGET", err)
		}
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL, max(1, int(b.Time.Microseconds()))); err != nil {
		return false, explain("set SO_BUSY_POLL", err)
	}
	return true, nil
}

// napi is the NAPI instance that the socket's packets come by, 0 before the first one and where there is none.
func (k *kernelSocket) napi() uint32 {
	id, err := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_INCOMING_NAPI_ID)
	if err != nil || id < 0 {
		return 0
	}
	return uint32(id)
}

// unprefer cannot fail: the option was set before.
func (k *kernelSocket) unprefer() {
	_ = unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL, 0)
}

// BusyPollRefused is why Config.BusyPoll is not in force though it was asked for; nil if it is, or was not asked for.
func (s *Socket) BusyPollRefused() error {
	if s.kernelSocket == nil {
		return nil
	}
	return s.refused
}
