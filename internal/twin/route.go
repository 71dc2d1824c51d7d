package twin

import "net/netip"

// path is how a packet reaches an address.
type path struct {
	iface  int // index into Config.Interfaces (a VLAN's own)
	next   netip.Addr
	mac    [6]byte
	solved bool       // the neighbour is known
	source netip.Addr // first address of dst's family on the interface
	mtu    int
}

// route finds the longest matching prefix among the connected networks and the static routes.
func (t *Twin) route(dst netip.Addr) (p path, ok bool) {
	best, next := -1, dst
	for i, f := range t.cfg.Interfaces {
		for _, a := range f.Addrs {
			if a.Masked().Contains(dst) && a.Bits() > best {
				best, next, p.iface = a.Bits(), dst, i
			}
		}
	}
	for _, r := range t.cfg.Routes {
		if r.To.Contains(dst) && r.To.Bits() > best {
			for i, f := range t.cfg.Interfaces {
				for _, a := range f.Addrs {
					if a.Masked().Contains(r.Via) {
						best, next, p.iface = r.To.Bits(), r.Via, i
					}
				}
			}
		}
	}
	if best < 0 || dst.IsLoopback() || dst.IsMulticast() || dst.IsUnspecified() {
		return path{}, false
	}
	f := t.cfg.Interfaces[p.iface]
	p.next, p.mtu = next, int(f.MTU)
	p.mac, p.solved = t.cfg.Neighbors[next]
	for _, a := range f.Addrs {
		if a.Addr().Is4() == dst.Is4() {
			p.source = a.Addr()
			break
		}
	}
	return p, true
}

// own tells whether an address is the director's: an interface's, or a service's.
func (t *Twin) own(a netip.Addr) bool {
	for _, f := range t.cfg.Interfaces {
		for _, p := range f.Addrs {
			if p.Addr() == a {
				return true
			}
		}
	}
	return t.virtual(a)
}

// virtual tells whether an address is some service's.
func (t *Twin) virtual(a netip.Addr) bool {
	for _, s := range t.services {
		if s.addr == a {
			return true
		}
	}
	return false
}
