package follow

import (
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// usable are the states in which the kernel would send to the neighbour's MAC.
const usable = unix.NUD_PERMANENT | unix.NUD_REACHABLE | unix.NUD_PROBE | unix.NUD_STALE | unix.NUD_DELAY

// neighbor notes what an event says of a neighbour; it reports whether that changes the network.
func (f *Follower) neighbor(n *netlink.Neigh, gone bool) bool {
	iface, ok := f.byIndex[n.LinkIndex]
	addr, valid := netip.AddrFromSlice(n.IP)
	if !ok || !valid || n.Flags&netlink.NTF_PROXY != 0 {
		return false
	}
	k := hopKey{iface, addr.Unmap()}
	if f.fixed[k] {
		return false
	}
	state := n.State
	if gone {
		state = 0
		delete(f.state, k)
	} else {
		f.state[k] = state
	}
	u, inUse := f.used[k]
	switch {
	case state&usable != 0 && len(n.HardwareAddr) == 6:
		return f.b.Resolve(iface, k.addr, [6]byte(n.HardwareAddr))
	case state&unix.NUD_FAILED != 0:
		if inUse && !u.kept && !u.gateway {
			delete(f.used, k)
		}
		return f.b.Fail(iface, k.addr)
	case inUse:
		// Unresolved for now: its MAC stands until the kernel's probes have failed, so that a collected entry or a
		// flapping link does not stop a flow that would go through.
		if gone {
			return f.ask(k)
		}
		if f.b.Hop(f.b.Want(iface, k.addr)).Failed {
			return f.b.Forget(iface, k.addr)
		}
		return false
	}
	return f.b.Forget(iface, k.addr)
}

// ask has the kernel resolve or confirm a neighbour, as if a packet were to be sent to it. It reports whether that
// changes the network: the neighbour is new to it, or no longer failed.
func (f *Follower) ask(k hopKey) (changed bool) {
	list := f.b.Interfaces()
	if k.iface < 0 || k.iface >= len(list) || list[k.iface].Gone || !k.addr.IsValid() || f.fixed[k] {
		return false
	}
	u, inUse := f.used[k]
	now := time.Now()
	if now.Sub(u.asked) < askAgain {
		return false
	}
	u.asked = now
	f.used[k] = u
	h := f.b.Hop(f.b.Want(k.iface, k.addr))
	if err := f.use(k); err != nil { // the interface is down, or its neighbour table full
		return f.b.Fail(k.iface, k.addr)
	}
	return h.Failed && f.b.Forget(k.iface, k.addr) || !inUse && !h.Resolved
}

// use tells the kernel that the neighbour is in use: an unknown or failed one is resolved, a stale one probed.
func (f *Follower) use(k hopKey) error {
	return f.kernel.NeighSet(&netlink.Neigh{
		LinkIndex: f.b.Interfaces()[k.iface].Index,
		IP:        net.IP(k.addr.AsSlice()),
		Flags:     netlink.NTF_USE,
	})
}

// refresh probes the neighbours in use that the kernel has let go stale, and asks again for those that are wanted and
// lost. It reports whether the network changed.
func (f *Follower) refresh() (changed bool) {
	for k, u := range f.used {
		switch state := f.state[k]; {
		case state&(unix.NUD_REACHABLE|unix.NUD_DELAY|unix.NUD_PROBE|unix.NUD_INCOMPLETE|unix.NUD_PERMANENT) != 0:
		case state&unix.NUD_STALE != 0, u.kept, u.gateway:
			changed = f.ask(k) || changed
		}
	}
	return changed
}
