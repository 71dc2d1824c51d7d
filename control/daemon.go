package control

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/fastlb/fastlb/service"
)

// Refusals of start-daemon that have no sentinel in service: they are the operating system's.
var (
	errNoDevice    = &service.Error{Errno: syscall.ENODEV, What: "no such device"}
	errUnreachable = &service.Error{Errno: syscall.ENETUNREACH, What: "network is unreachable"}
)

// Defaults of a sync daemon (spec/sync.md).
const (
	syncPort = 8848
	syncTTL  = 1
)

var syncGroup = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// startDaemon stores a sync daemon with the kernel's defaults filled in, after the kernel's checks in its order.
func (c *Control) startDaemon(d Daemon) error {
	if d.State != Master && d.State != Backup {
		return fmt.Errorf("sync daemon %q: %w", d.State, service.ErrInvalid)
	}
	if c.hasMixedFamilies() {
		return fmt.Errorf("sync daemon while servers of another family than their service's exist: %w", service.ErrInvalid)
	}
	mtu, up, ok := uint32(1500), true, true
	if c.o.Link != nil {
		mtu, up, ok = c.o.Link(d.Interface)
	}
	if !ok {
		return fmt.Errorf("sync daemon: interface %q: %w", d.Interface, errNoDevice)
	}
	if slices.ContainsFunc(c.daemons, func(o Daemon) bool { return o.State == d.State }) {
		return fmt.Errorf("%s: %w", d.State, service.ErrDaemonRuns)
	}
	if !up {
		return fmt.Errorf("sync daemon: interface %q is down: %w", d.Interface, errUnreachable)
	}
	c.daemons = append(c.daemons, filled(d, mtu))
	slices.SortFunc(c.daemons, func(a, b Daemon) int { // master before backup
		switch {
		case a.State == b.State:
			return 0
		case a.State == Master:
			return -1
		}
		return 1
	})
	c.table.Syncing = true
	return nil
}

// filled is a daemon with the defaults in the place of zeros.
func filled(d Daemon, mtu uint32) Daemon {
	if !d.Group.IsValid() {
		d.Group = syncGroup
	}
	if d.Port == 0 {
		d.Port = syncPort
	}
	if d.TTL == 0 {
		d.TTL = syncTTL
	}
	headers := uint32(28)
	if d.Group.Is6() {
		headers = 48
	}
	low, size := uint32(1), uint32(1500)
	if d.State == Backup {
		low, size = 1024, min(max(mtu, 1500), 65535)
	}
	if d.MaxLen == 0 {
		d.MaxLen = uint16(size - headers)
	} else {
		d.MaxLen = uint16(min(max(uint32(d.MaxLen), low), 65535-headers))
	}
	return d
}

// stopDaemon forgets a sync daemon.
func (c *Control) stopDaemon(d Daemon) error {
	n := len(c.daemons)
	c.daemons = slices.DeleteFunc(c.daemons, func(o Daemon) bool { return o.State == d.State })
	if len(c.daemons) == n {
		return fmt.Errorf("%s: %w", d.State, service.ErrNoDaemon)
	}
	c.table.Syncing = len(c.daemons) > 0
	return nil
}

// hasMixedFamilies tells whether some server is of another family than its service.
func (c *Control) hasMixedFamilies() bool {
	for _, s := range c.table.Services() {
		for _, d := range s.Servers {
			if d.Family != s.Family {
				return true
			}
		}
	}
	return false
}
