package xdp

import (
	"errors"
	"fmt"
)

// Mode is where on an interface the program runs.
type Mode uint8

const (
	Native  Mode = iota + 1 // in the driver
	Generic                 // in the network stack, on every interface, slower
)

func (m Mode) String() string {
	switch m {
	case Native:
		return "native"
	case Generic:
		return "generic"
	}
	return fmt.Sprintf("mode-%d", uint8(m))
}

// Interface to attach to.
type Interface struct {
	Name   string
	Index  int       // the kernel's; in the calling thread's network namespace
	MACs   [][6]byte // packets to these are the director's: the interface's own, those of VLANs on it
	Queues int       // queues that may get sockets: 0 … Queues-1
	Large  bool      // its packets may be longer than one of the driver's buffers
}

// Errors of Load and Attach, for errors.Is.
var (
	ErrPermission   = errors.New("not permitted: XDP needs CAP_NET_ADMIN and CAP_BPF (run as root)")
	ErrForeign      = errors.New("another XDP program is attached")
	ErrInUse        = errors.New("another director runs on this interface")
	ErrNotSupported = errors.New("the driver cannot run XDP programs in this mode")
	ErrNoInterface  = errors.New("no such interface: see `ip link`")
)
