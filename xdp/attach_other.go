//go:build !linux

package xdp

import (
	"errors"
	"fmt"
)

// Attachment needs Linux.
type Attachment struct {
	ifc  Interface
	base uint32
}

// Attach fails: XDP is Linux's.
func (p *Programs) Attach(ifc Interface, mode Mode) (*Attachment, error) {
	return nil, fmt.Errorf("attach XDP program to %s: %w", ifc.Name, errors.ErrUnsupported)
}

// Mode is none.
func (a *Attachment) Mode() Mode { return 0 }

// Frags is false.
func (a *Attachment) Frags() bool { return false }

// Interface is what Attach was given.
func (a *Attachment) Interface() Interface { return a.ifc }

// SetSocket fails.
func (a *Attachment) SetSocket(queue, fd int) error { return errors.ErrUnsupported }

// ClearSocket fails.
func (a *Attachment) ClearSocket(queue int) error { return errors.ErrUnsupported }

// SetMACs fails.
func (a *Attachment) SetMACs(macs [][6]byte) error { return errors.ErrUnsupported }

// Detach fails.
func (a *Attachment) Detach() error { return errors.ErrUnsupported }

func isPermission(error) bool { return false }
