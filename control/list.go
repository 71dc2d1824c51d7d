package control

import (
	"net/netip"
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// Info is what the header of a listing says.
func (c *Control) Info() (Info, error) {
	i := Info{Version: [3]uint8{1, 2, 1}}
	if c.o.Flows != nil {
		i.Size = uint64(c.o.Flows.Capacity())
	}
	return i, nil
}

// Services lists the services in the order in which they were made.
func (c *Control) Services() ([]ServiceEntry, error) {
	list := make([]ServiceEntry, 0, len(c.table.Services()))
	for _, s := range c.table.Services() {
		stats, err := c.table.ServiceStats(s.ID)
		if err != nil {
			return nil, err
		}
		e := ServiceEntry{Spec: s.Spec, Stats: stats, Rates: c.rates.of(s).shown(), Servers: make([]ServerEntry, 0, len(s.Servers))}
		for _, d := range s.Servers {
			active, inactive, persistent := d.Counts()
			e.Servers = append(e.Servers, ServerEntry{
				Spec: d.Spec(), Active: shownCount(active), Inactive: shownCount(inactive), Persistent: shownCount(persistent),
				Stats: c.table.ServerStats(d), Rates: c.rates.servers[d.Number].shown(), Slot: d.Number,
			})
		}
		list = append(list, e)
	}
	return list, nil
}

// shownCount is a server's connection count for people. Workers add theirs up and settle them at the end of their rounds
// (service.Server.Settle), so one that has taken a connection off may come before the one that has put it on: for that
// moment the count is negative.
func shownCount(n int32) uint32 { return uint32(max(n, 0)) }

// Total is the whole table's statistics and rates per second.
func (c *Control) Total() (stats, rates service.Stats) {
	return c.table.TotalStats(), c.rates.total.shown()
}

// ConnectionsAt calls yield for each connection and template in the order of their records, until one call returns an
// error, which it returns. Nothing is held while yield runs, so it may block.
func (c *Control) ConnectionsAt(now clock.Time, yield func(ConnEntry) error) error {
	if c.o.Flows == nil {
		return nil
	}
	var chunk [256]flow.Entry
	for from := flow.Ref(1); from != 0; {
		var n int
		n, from = c.o.Flows.Copy(from, chunk[:])
		for i := range chunk[:n] {
			if err := yield(c.entry(&chunk[i], now)); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry is a copied connection as listings show it.
func (c *Control) entry(copied *flow.Entry, now clock.Time) ConnEntry {
	conn := &copied.Conn
	flags := conn.LoadFlags()
	six := flags&flow.FlagIPv6 != 0
	template := flags&flow.FlagTemplate != 0
	e := ConnEntry{
		Protocol: conn.Proto,
		State:    flow.StateName(conn.Proto, uint8(flags>>flow.StateShift), template, flags&flow.FlagAssured != 0),
		Expires:  uint32(max(0, clock.Time(conn.Deadline)-now) / clock.Second),
		Client:   addrPort(conn.Client, conn.CPort, six),
		Virtual:  addrPort(conn.Virtual, conn.VPort, six),
		Server:   addrPort(conn.Dest, conn.DPort, six != (flags&flow.FlagTunnelOther != 0)),
	}
	if template {
		e.Client = addrPort(conn.Client, 0, six) // an invalid one has another port, so that nobody finds it
	}
	if template && conn.Proto == 0 {
		m := conn.Mark
		e.Virtual = netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}), conn.VPort)
	}
	if data := c.o.Flows.AppendEngineData(nil, copied); len(data) > 0 {
		e.Engine, e.Data = "sip", string(data)
	}
	return e
}

// addrPort converts for a listing; none is the family's zero address.
func addrPort(a packet.Addr, port uint16, six bool) netip.AddrPort {
	n := a.Netip()
	switch {
	case n.IsValid():
	case six:
		n = netip.IPv6Unspecified()
	default:
		n = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(n, port)
}

// Ages says what a server's active connections are made of, by when a packet was last seen. A director that sees one
// direction alone keeps a connection for its timeout after the server has closed it; this tells how many of the active
// ones may be such.
type Ages struct {
	Recent  uint32 `json:"recent"`  // within the last 10 seconds
	Minute  uint32 `json:"minute"`  // within the last minute, but not the last 10 seconds
	Longer  uint32 `json:"longer"`  // before that
	Waiting uint32 `json:"waiting"` // of all: TCP connections in SYN_RECV without a reply seen
}

// ActiveAges counts the active connections of every server by age: index 0 is all of them, others slot numbers. It reads
// the whole table, holds nothing up meanwhile, and may be called by any goroutine.
func (c *Control) ActiveAges(now clock.Time) []Ages {
	ages := make([]Ages, c.o.Slots.Capacity()+1)
	if c.o.Flows == nil {
		return ages
	}
	c.o.Flows.Walk(func(_ flow.Ref, conn *flow.Conn) bool {
		flags := conn.LoadFlags()
		if flags&(flow.FlagInactive|flow.FlagTemplate) != 0 || conn.Server == 0 || conn.Server >= uint32(len(ages)) {
			return true
		}
		idle := int64(now) + atomic.LoadInt64(&conn.Timeout) - atomic.LoadInt64(&conn.Deadline)
		waiting := conn.Proto == service.TCP && uint8(flags>>flow.StateShift) == flow.TCPSynRecv && flags&flow.FlagReplied == 0
		for _, a := range []*Ages{&ages[0], &ages[conn.Server]} {
			switch {
			case idle <= int64(10*clock.Second):
				a.Recent++
			case idle <= int64(60*clock.Second):
				a.Minute++
			default:
				a.Longer++
			}
			if waiting {
				a.Waiting++
			}
		}
		return true
	})
	return ages
}

// AddAges fills in the servers' Ages of a listing.
func (c *Control) AddAges(list []ServiceEntry, now clock.Time) {
	ages := c.ActiveAges(now)
	for i := range list {
		for j := range list[i].Servers {
			if d := &list[i].Servers[j]; d.Slot < uint32(len(ages)) {
				d.Ages = &ages[d.Slot]
			}
		}
	}
}
