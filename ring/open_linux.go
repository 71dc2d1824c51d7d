package ring

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// kernelSocket is what a live socket owns in the kernel.
type kernelSocket struct {
	fd           int
	config       Config
	zeroCopy     bool
	budgetRaised bool
	refused      error // why busy polling was asked for in vain
	unmap        []func() error
}

// Open makes a socket on one queue of one interface, in the calling thread's network namespace. The first socket of a
// UMEM registers the memory and binds with cfg.Bind; the others share it and get the same. Errors say what to do and
// satisfy errors.Is for the Err… values and the errno; on failure everything is undone.
//
// System calls, in order: socket, setsockopt (XDP_UMEM_REG, four rings, busy polling, TX budget), getsockopt
// (XDP_MMAP_OFFSETS), four times mmap, bind, getsockopt (XDP_OPTIONS).
func Open(cfg Config) (_ *Socket, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open AF_XDP socket on %s queue %d: %w", cfg.Interface, cfg.Queue, err)
		}
	}()
	if err := cfg.Sizes.validate(); err != nil {
		return nil, err
	}
	if cfg.Index == 0 {
		i, err := net.InterfaceByName(cfg.Interface)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoInterface, err)
		}
		cfg.Index = i.Index
	}
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, explain("socket", err)
	}
	s := &Socket{frames: cfg.UMEM.Frames, kernelSocket: &kernelSocket{fd: fd, config: cfg}}
	s.kernel = s.kernelSocket
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if len(cfg.UMEM.sockets) == 0 {
		if err := registerUMEM(fd, cfg.UMEM.Frames.Mem); err != nil {
			return nil, explain("register UMEM", err)
		}
	}
	if err := s.mapRings(); err != nil {
		return nil, err
	}
	s.undecided, s.refused = s.setBusyPoll()
	s.raiseTXBudget()
	if err := s.bind(); err != nil {
		return nil, err
	}
	if s.undecided && s.napi() != 0 {
		s.decide()
	}
	return s, nil
}

// mapRings sizes the four rings and maps them.
func (s *Socket) mapRings() error {
	cfg := &s.config
	for _, r := range []struct {
		name      string
		opt, size int
	}{
		{"fill ring", unix.XDP_UMEM_FILL_RING, cfg.Sizes.Fill},
		{"completion ring", unix.XDP_UMEM_COMPLETION_RING, cfg.Sizes.Completion},
		{"RX ring", unix.XDP_RX_RING, cfg.Sizes.RX},
		{"TX ring", unix.XDP_TX_RING, cfg.Sizes.TX},
	} {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_XDP, r.opt, r.size); err != nil {
			return explain("size "+r.name, err)
		}
	}
	off, err := mmapOffsets(s.fd)
	if err != nil {
		return explain("ring offsets", err)
	}
	fill, err := mapRing[uint64](s.fd, cfg.Sizes.Fill, off.Fr, unix.XDP_UMEM_PGOFF_FILL_RING)
	if err != nil {
		return err
	}
	s.unmap = append(s.unmap, fill.unmap)
	completion, err := mapRing[uint64](s.fd, cfg.Sizes.Completion, off.Cr, unix.XDP_UMEM_PGOFF_COMPLETION_RING)
	if err != nil {
		return err
	}
	s.unmap = append(s.unmap, completion.unmap)
	rx, err := mapRing[Desc](s.fd, cfg.Sizes.RX, off.Rx, unix.XDP_PGOFF_RX_RING)
	if err != nil {
		return err
	}
	s.unmap = append(s.unmap, rx.unmap)
	tx, err := mapRing[Desc](s.fd, cfg.Sizes.TX, off.Tx, unix.XDP_PGOFF_TX_RING)
	if err != nil {
		return err
	}
	s.unmap = append(s.unmap, tx.unmap)
	s.fill = newProducer(fill.producer, fill.consumer, fill.flags, fill.slots)
	s.completion = newConsumer(completion.consumer, completion.producer, completion.slots)
	s.rx = newConsumer(rx.consumer, rx.producer, rx.slots)
	s.tx = newProducer(tx.producer, tx.consumer, tx.flags, tx.slots)
	return nil
}

// bind ties the socket to its queue and reads back how.
func (s *Socket) bind() error {
	cfg := &s.config
	sa := &unix.SockaddrXDP{Ifindex: uint32(cfg.Index), QueueID: uint32(cfg.Queue)}
	if open := cfg.UMEM.sockets; len(open) != 0 {
		sa.Flags = unix.XDP_SHARED_UMEM // and nothing else: the mode is the first one's
		sa.SharedUmemFD = uint32(open[0].fd)
	} else {
		sa.Flags = unix.XDP_USE_NEED_WAKEUP
		if cfg.Bind == BindZeroCopy {
			sa.Flags |= unix.XDP_ZEROCOPY
		} else {
			sa.Flags |= unix.XDP_COPY
		}
		if cfg.Segments {
			sa.Flags |= unix.XDP_USE_SG
		}
	}
	if err := unix.Bind(s.fd, sa); err != nil {
		return explainBind(cfg.Bind, err)
	}
	options, err := unix.GetsockoptInt(s.fd, unix.SOL_XDP, unix.XDP_OPTIONS)
	if err != nil {
		return explain("read back options", err)
	}
	s.zeroCopy = options&unix.XDP_OPTIONS_ZEROCOPY != 0
	s.copies = !s.zeroCopy
	if len(cfg.UMEM.sockets) == 0 {
		cfg.UMEM.segments = cfg.Segments
	}
	if cfg.UMEM.segments {
		s.KeepChains()
	}
	cfg.UMEM.sockets = append(cfg.UMEM.sockets, s)
	return nil
}

// SegmentsSupported tells whether the kernel knows packets of several frames (Config.Segments): Linux 6.6, or one that has
// it in spite of its number. It asks by a bind that fails in any case, for there is no interface 0.
func SegmentsSupported() (bool, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, explain("ask for XDP_USE_SG: socket", err)
	}
	defer unix.Close(fd)
	err = unix.Bind(fd, &unix.SockaddrXDP{Flags: unix.XDP_USE_SG | unix.XDP_COPY})
	return !errors.Is(err, unix.EINVAL), nil
}

// raiseTXBudget lets one wakeup send more than the 32 packets that copy mode sends by itself. Kernels before 6.18 refuse,
// which costs wakeups and nothing else.
func (s *Socket) raiseTXBudget() {
	budget := s.config.TXBudget
	if budget == 0 {
		budget = s.config.Sizes.TX
	}
	s.budgetRaised = unix.SetsockoptInt(s.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, budget) == nil
}

// explain adds what to do to an error of the set-up calls. The errno stays reachable by errors.Is.
func explain(what string, err error) error {
	var hint error
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		hint = ErrPermission
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		hint = ErrMemlock
	case errors.Is(err, unix.EBUSY):
		hint = ErrQueueBusy
	case errors.Is(err, unix.ENODEV):
		hint = ErrNoInterface
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.ENOPROTOOPT):
		hint = ErrNotSupported
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w (%w)", what, hint, err)
}

// explainBind is explain for bind, whose EINVAL and ENOENT say different things: drivers that cannot do zero-copy as they
// are set up answer so (virtio-net without IOMMU, without mergeable buffers), and so does a queue that is not there.
func explainBind(b Bind, err error) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		hint := ErrNoQueue
		if b == BindZeroCopy {
			hint = ErrNotSupported
		}
		return fmt.Errorf("bind for %v: %w (%w)", b, hint, err)
	}
	return explain("bind for "+b.String(), err)
}

// Close ends the socket and unmaps its rings; the kernel gives its queue back. Frames that the socket held are free
// again only with the whole UMEM. The first socket of a UMEM may be closed before the others.
func (s *Socket) Close() error {
	if s.kernelSocket == nil || s.fd < 0 {
		return nil
	}
	var errs []error
	for _, u := range s.unmap {
		errs = append(errs, u())
	}
	s.unmap = nil
	s.fill, s.completion, s.rx, s.tx = producer[uint64]{}, consumer[uint64]{}, consumer[Desc]{}, producer[Desc]{}
	s.config.UMEM.forget(s)
	errs = append(errs, unix.Close(s.fd))
	s.fd = -1
	return errors.Join(errs...)
}
