package ring

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The wakeups are raw system calls: they do not block (MSG_DONTWAIT), so the thread need not tell Go's scheduler, which
// would otherwise take the P away from a worker whose sendto copies a full TX ring.

// wakeTX asks the kernel to send: in copy mode it does so within the call.
func (k *kernelSocket) wakeTX() wakeResult {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(k.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return resultOf(errno)
}

// wakeRX asks the driver to look at the fill ring, and with busy polling to receive.
func (k *kernelSocket) wakeRX() wakeResult {
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(k.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return resultOf(errno)
}

func resultOf(errno unix.Errno) wakeResult {
	switch errno {
	case 0, unix.EINTR:
		return wakeDone
	case unix.EAGAIN:
		return wakeAgain
	case unix.EBUSY:
		return wakeBusy
	case unix.ENOBUFS:
		return wakeNoBufs
	case unix.ENETDOWN, unix.ENXIO:
		return wakeNetDown
	}
	return wakeFailed
}

// FD is the socket's file descriptor, for the XSK map; -1 on plain memory and after Close.
func (s *Socket) FD() int {
	if s.kernelSocket == nil {
		return -1
	}
	return s.fd
}

// ZeroCopy tells whether the kernel reported zero-copy (XDP_OPTIONS).
func (s *Socket) ZeroCopy() bool { return s.kernelSocket != nil && s.zeroCopy }

// BudgetRaised tells whether the kernel accepted Config.TXBudget.
func (s *Socket) BudgetRaised() bool { return s.kernelSocket != nil && s.budgetRaised }

// Statistics reads the kernel's counters of this socket; all zero on plain memory. Any goroutine may call it while the
// socket is open.
func (s *Socket) Statistics() (Statistics, error) {
	if s.kernelSocket == nil {
		return Statistics{}, nil
	}
	st, err := statistics(s.fd)
	if err != nil {
		return Statistics{}, fmt.Errorf("read statistics of %s queue %d: %w", s.config.Interface, s.config.Queue, err)
	}
	return Statistics{
		RXDropped: st.Rx_dropped, RXInvalidDescs: st.Rx_invalid_descs, TXInvalidDescs: st.Tx_invalid_descs,
		RXRingFull: st.Rx_ring_full, FillRingEmpty: st.Rx_fill_ring_empty_descs, TXRingEmpty: st.Tx_ring_empty_descs,
	}, nil
}
