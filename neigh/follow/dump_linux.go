package follow

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/neigh"
)

// network is what is dumped as a whole.
type network struct {
	interfaces []neigh.Interface
	parent     []int
	routes     []netlink.Route
}

// attempts at a dump that changes under the reader's eyes (NLM_F_DUMP_INTR).
const attempts = 5

// retry repeats a dump while the kernel says that it was interrupted.
func retry[T any](dump func() (T, error)) (out T, err error) {
	for range attempts {
		if out, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return out, nil // the last one is as good as any: further events will follow
}

// resync reads everything.
func (f *Follower) resync() error {
	if _, err := f.redump(); err != nil {
		return err
	}
	seen := map[hopKey]bool{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := retry(func() ([]netlink.Neigh, error) { return f.kernel.NeighList(0, family) })
		if err != nil {
			return fmt.Errorf("read the neighbours: %w", err)
		}
		for i := range list {
			f.neighbor(&list[i], false)
			if a, ok := netip.AddrFromSlice(list[i].IP); ok {
				seen[hopKey{f.byIndex[list[i].LinkIndex], a.Unmap()}] = true
			}
		}
	}
	for k := range f.state {
		if !seen[k] {
			delete(f.state, k)
			if _, inUse := f.used[k]; !inUse {
				f.b.Forget(k.iface, k.addr)
			}
		}
	}
	return nil
}

// redump reads links, addresses and routes; it reports whether they changed.
func (f *Follower) redump() (changed bool, err error) {
	var next network
	byIndex, err := f.links(&next)
	if err != nil {
		return false, err
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := retry(func() ([]netlink.Route, error) {
			return f.kernel.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return false, fmt.Errorf("read the routes: %w", err)
		}
		next.routes = append(next.routes, list...)
	}
	f.rules()
	if f.byIndex != nil && reflect.DeepEqual(next, f.network) {
		return false, nil
	}
	at := f.b.SetInterfaces(next.interfaces, next.parent)
	f.byIndex = map[int]int{}
	for index, i := range byIndex {
		f.byIndex[index] = at[i]
	}
	routes := make([]neigh.Route, 0, len(next.routes))
	for i := range next.routes {
		if r, ok := f.route(&next.routes[i]); ok {
			routes = append(routes, r)
		}
	}
	f.b.SetRoutes(routes)
	f.network = next
	f.setStatic()
	f.gateways(routes)
	return true, nil
}

// links reads the links and their addresses; byIndex gives the position of each.
func (f *Follower) links(n *network) (byIndex map[int]int, err error) {
	links, err := retry(f.kernel.LinkList)
	if err != nil {
		return nil, fmt.Errorf("read the links: %w", err)
	}
	byIndex = make(map[int]int, len(links))
	limits := f.limits
	for i, l := range links {
		byIndex[l.Attrs().Index] = i
	}
	for i, l := range links {
		a := l.Attrs()
		f := neigh.Interface{Name: a.Name, Index: a.Index, MTU: uint32(a.MTU), Limit: limits[a.Index], Up: a.Flags&net.FlagUp != 0}
		if len(a.HardwareAddr) == 6 {
			f.MAC = [6]byte(a.HardwareAddr)
		}
		parent := i
		if v, ok := l.(*netlink.Vlan); ok {
			f.VLAN = uint16(v.VlanId)
			if p, ok := byIndex[a.ParentIndex]; ok {
				parent = p
			}
			f.Limit = limits[a.ParentIndex]
		}
		n.interfaces, n.parent = append(n.interfaces, f), append(n.parent, parent)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		addrs, err := retry(func() ([]netlink.Addr, error) { return f.kernel.AddrList(nil, family) })
		if err != nil {
			return nil, fmt.Errorf("read the addresses: %w", err)
		}
		for _, a := range addrs {
			i, ok := byIndex[a.LinkIndex]
			if !ok || a.IPNet == nil || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
				continue
			}
			if p, ok := prefix(a.IPNet, family); ok {
				n.interfaces[i].Addrs = append(n.interfaces[i].Addrs, p)
			}
		}
	}
	return byIndex, nil
}

// rules warns once of policy routing that the dataplane does not heed: it asks the tables local and main.
func (f *Follower) rules() {
	extra := ""
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := f.kernel.RuleList(family)
		if err != nil {
			continue // a kernel without policy routing
		}
		for _, r := range list {
			if r.Table != unix.RT_TABLE_LOCAL && r.Table != unix.RT_TABLE_MAIN && r.Table != unix.RT_TABLE_DEFAULT {
				extra += "; " + r.String()
			}
		}
	}
	if extra != "" && extra != f.ruleSeen {
		f.opt.fault(fmt.Errorf("policy routing rules are not followed, the tables local and main are%s", extra))
	}
	f.ruleSeen = extra
}

// route converts a route; false: of a table that is not followed, or of no use to the dataplane.
func (f *Follower) route(r *netlink.Route) (neigh.Route, bool) {
	out := neigh.Route{Local: r.Table == unix.RT_TABLE_LOCAL, Metric: uint32(r.Priority), MTU: uint32(r.MTU)}
	if r.Table != unix.RT_TABLE_LOCAL && r.Table != unix.RT_TABLE_MAIN || r.Tos != 0 {
		return out, false
	}
	var ok bool
	if r.Dst == nil {
		out.Dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Family == netlink.FAMILY_V6 {
			out.Dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	} else if out.Dst, ok = prefix(r.Dst, r.Family); !ok {
		return out, false
	}
	switch r.Type {
	case unix.RTN_UNICAST:
		out.Kind = neigh.Unicast
	case unix.RTN_LOCAL, unix.RTN_ANYCAST:
		out.Kind = neigh.LocalAddr
	case unix.RTN_BLACKHOLE, unix.RTN_BROADCAST, unix.RTN_MULTICAST:
		out.Kind = neigh.Blackhole
	default: // unreachable, prohibit, throw
		out.Kind = neigh.Unreachable
	}
	if a, ok := netip.AddrFromSlice(r.Src); ok {
		out.Source = a.Unmap()
	}
	add := func(index int, gw net.IP, via netlink.Destination, hops, flags int) {
		i, ok := f.byIndex[index]
		if !ok || flags&unix.RTNH_F_DEAD != 0 {
			return
		}
		v := neigh.Via{Interface: i, Weight: uint32(hops) + 1}
		if a, ok := netip.AddrFromSlice(gw); ok {
			v.Gateway = a.Unmap()
		} else if w, ok := via.(*netlink.Via); ok && w != nil {
			if a, ok := netip.AddrFromSlice(w.Addr); ok {
				v.Gateway = a
			}
		}
		out.Vias = append(out.Vias, v)
	}
	if len(r.MultiPath) == 0 {
		add(r.LinkIndex, r.Gw, r.Via, 0, r.Flags)
	}
	for _, h := range r.MultiPath {
		add(h.LinkIndex, h.Gw, h.Via, h.Hops, h.Flags)
	}
	return out, true
}

// gateways notes the routes' gateways, to be kept resolved.
func (f *Follower) gateways(routes []neigh.Route) {
	for k, u := range f.used {
		u.gateway = false
		f.used[k] = u
	}
	for _, r := range routes {
		for _, v := range r.Vias {
			if r.Kind == neigh.Unicast && v.Gateway.IsValid() {
				k := hopKey{v.Interface, v.Gateway}
				u := f.used[k]
				u.gateway = true
				f.used[k] = u
			}
		}
	}
}

// prefix converts; false for a mask that is none.
func prefix(n *net.IPNet, family int) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, size := n.Mask.Size()
	if !ok || size == 0 {
		return netip.Prefix{}, false
	}
	if family == netlink.FAMILY_V4 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, ones), true
}
