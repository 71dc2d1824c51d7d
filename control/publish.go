package control

import (
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// Published is what workers follow of the control path's state; all of it is immutable.
type Published struct {
	Services *service.Snapshot
	Timeouts flow.Timeouts
	// Tunables are the ones in force: drop_packet, am_droprate and secure_tcp are what the defences' automatic modes
	// make of them just now (0: off, 2: on with a rate of theirs, 3: on), and backup_only holds on a backup alone.
	Tunables service.Tunables
}

// Publish freezes the present state, with every server resolved against net: call it after changes, when routes or
// neighbours changed, and when Tick says so.
func (c *Control) Publish(net neigh.Resolver) Published {
	c.net = net
	s := c.table.Snapshot()
	s.Targets = make([]service.Target, c.o.Slots.High()+1)
	for n := range s.Targets {
		if d := c.o.Slots.Get(uint32(n)); d != nil && d.InUse() {
			s.Targets[n] = target(d, net)
		}
	}
	t := flow.DefaultTimeouts()
	t.TCP[flow.TCPEstablished] = seconds(c.timeouts.TCP)
	t.TCP[flow.TCPFinWait] = seconds(c.timeouts.TCPFin)
	t.UDP = seconds(c.timeouts.UDP)
	return Published{Services: s, Timeouts: t, Tunables: c.inForce()}
}

// inForce is the tunables as the workers follow them.
func (c *Control) inForce() service.Tunables {
	t := c.guard.inForce(c.tunables)
	t.BackupOnly = t.BackupOnly && slices.ContainsFunc(c.daemons, func(d Daemon) bool { return d.State == Backup })
	return t
}

// Settle says that the workers have what the last Publish returned (Options.Defer). Tick settles too, for a caller that
// forgets.
func (c *Control) Settle() { c.table.Settle() }

func seconds(n uint32) int64 { return int64(n) * int64(clock.Second) }

// target resolves a server. One in the trash is resolved too: its replies still go out.
func target(d *service.Server, net neigh.Resolver) service.Target {
	r, spec := net.Route(d.Addr), d.Spec()
	t := service.Target{
		Addr: d.Addr, Port: d.Port, Family: d.Family, Service: d.Service, Available: d.Available(),
		Method: spec.Method, Tunnel: spec.Tunnel, TunPort: spec.TunPort, TunSum: spec.TunSum,
		Source: r.Source, Hop: uint32(r.Hop), Interface: int32(r.Interface), MTU: r.MTU,
	}
	switch r.Kind {
	case neigh.Unicast:
		t.Kind = service.TargetUnicast
	case neigh.LocalAddr:
		t.Kind = service.TargetLocal
	case neigh.Blackhole:
		t.Kind = service.TargetBlackhole
	default:
		t.Kind = service.TargetUnreachable
	}
	return t
}

// kind is what the network of the last Publish knows of an address that a server shall have.
func (c *Control) kind(addr packet.Addr) service.AddrKind {
	if c.net.Route(addr).Kind == neigh.LocalAddr {
		return service.AddrLocal
	}
	s, ok := c.net.(*neigh.Snapshot)
	if !ok {
		return service.AddrUnicast
	}
	a := addr.Netip()
	for i := range s.Interfaces {
		for _, p := range s.Interfaces[i].Addrs {
			if isBroadcast(p, a) {
				return service.AddrBroadcast
			}
		}
	}
	return service.AddrUnicast
}

// isBroadcast tells whether a is the broadcast address of an interface's IPv4 network; networks of two addresses or one
// have none.
func isBroadcast(p netip.Prefix, a netip.Addr) bool {
	if !a.Is4() || !p.Addr().Is4() || p.Bits() > 30 || !p.Contains(a) {
		return false
	}
	v := packet.AddrFrom(a).V4()
	host := uint32(1)<<(32-p.Bits()) - 1
	return v&host == host
}
