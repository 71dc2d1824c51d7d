//go:build !linux

package ring

import (
	"fmt"
	"time"

	"github.com/fastlb/fastlb/numa"
)

// UMEM is packet memory on the heap: there is no AF_XDP on this system.
type UMEM struct {
	Frames *Frames
	Pages  numa.Pages
}

// NewUMEM allocates on the heap.
func NewUMEM(cfg UMEMConfig) (*UMEM, error) {
	return &UMEM{Frames: NewFrames(make([]byte, cfg.Frames*FrameSize))}, nil
}

// Close does nothing.
func (u *UMEM) Close() error { return nil }

type kernelSocket struct{}

// Open fails: AF_XDP is Linux's.
func Open(cfg Config) (*Socket, error) {
	return nil, fmt.Errorf("open AF_XDP socket on %s queue %d: %w", cfg.Interface, cfg.Queue, ErrNotSupported)
}

// Close does nothing on plain memory.
func (s *Socket) Close() error { return nil }

// FD is -1: there is no file descriptor.
func (s *Socket) FD() int { return -1 }

// ZeroCopy is false on plain memory.
func (s *Socket) ZeroCopy() bool { return false }

// Statistics are all zero on plain memory.
func (s *Socket) Statistics() (Statistics, error) { return Statistics{}, nil }

// BudgetRaised is false on plain memory.
func (s *Socket) BudgetRaised() bool { return false }

// BusyPollRefused is nil on plain memory.
func (s *Socket) BusyPollRefused() error { return nil }

// Poller needs AF_XDP.
type Poller struct{}

// NewPoller fails: there is nothing to wait for.
func NewPoller(sockets ...*Socket) (*Poller, error) {
	return nil, fmt.Errorf("poll AF_XDP sockets: %w", ErrNotSupported)
}

// Wait fails.
func (p *Poller) Wait(timeout time.Duration) (int, error) {
	return 0, fmt.Errorf("poll AF_XDP sockets: %w", ErrNotSupported)
}

// Wake does nothing.
func (p *Poller) Wake() error { return nil }

// Close does nothing.
func (p *Poller) Close() error { return nil }
