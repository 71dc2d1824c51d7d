//go:build !linux

package follow

import (
	"errors"
	"net/netip"

	"github.com/fastlb/fastlb/neigh"
)

// Follower follows the kernel's network; on this system there is none that it could.
type Follower struct{}

// Start fails: netlink is Linux's.
func Start(Options) (*Follower, error) {
	return nil, errors.New("following the network needs Linux (netlink)")
}

// Snapshot returns an empty network.
func (*Follower) Snapshot() *neigh.Snapshot { return neigh.Empty() }

// Ask does nothing.
func (*Follower) Ask(int, netip.Addr) {}

// Keep does nothing.
func (*Follower) Keep([]neigh.HopID) {}

// SetNeighbors does nothing.
func (*Follower) SetNeighbors(map[netip.Addr][6]byte) {}

// SetLimits does nothing.
func (*Follower) SetLimits(map[int]uint32) error { return nil }

// Close does nothing.
func (*Follower) Close() error { return nil }
