package twin

import (
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/perf"
)

// Receive handles a frame that arrived on the NIC number nic of Config.Interfaces.
func (t *Twin) Receive(now int64, nic int, frame []byte) Outcome {
	t.Advance(now)
	if len(frame) < 14 {
		return Outcome{Verdict: Drop, Reason: perf.Runt}
	}
	link, at, ether := nic, 14, be.Uint16(frame[12:])
	for ether == 0x8100 || ether == 0x88a8 {
		if len(frame) < at+4 {
			return Outcome{Verdict: Drop, Reason: perf.Runt}
		}
		tag := be.Uint16(frame[at:]) & 0xfff
		ether, at = be.Uint16(frame[at+2:]), at+4
		if tag == 0 {
			continue
		}
		link = t.vlan(link, tag)
		if link < 0 {
			return Outcome{Verdict: Pass, Reason: perf.PassNotHost}
		}
	}
	if [6]byte(frame[:6]) != t.cfg.Interfaces[link].MAC {
		return Outcome{Verdict: Pass, Reason: perf.PassNotHost}
	}
	if ether != 0x0800 && ether != 0x86dd {
		return Outcome{Verdict: Pass, Reason: perf.PassNotIP}
	}
	p, why := decode(frame[at:])
	if p != nil && p.v6 != (ether == 0x86dd) {
		why = perf.BadIPHeader
	}
	if why == perf.ReasonNone && !t.serves(p.v6) {
		return Outcome{Verdict: Pass, Reason: perf.PassNothingSetUp, Passed: p.raw}
	}
	if why != perf.ReasonNone {
		return Outcome{Verdict: Drop, Reason: why}
	}
	if p.fragment && !t.concerns(p) {
		return Outcome{Verdict: Pass, Reason: perf.PassNoService, Passed: p.raw}
	}
	if p.fragment {
		whole, v, why := t.hold(p)
		if whole == nil {
			return Outcome{Verdict: v, Reason: why}
		}
		p = whole
	}
	o := t.handle(p)
	if o.Verdict == Pass {
		o.Passed = p.raw
	}
	return o
}

// serves tells whether there is a service of a family; the kernel does not look at the packets of a family without one.
func (t *Twin) serves(v6 bool) bool {
	return slices.ContainsFunc(t.services, func(s *service) bool { return s.addr.Is6() == v6 })
}

// concerns tells whether a fragment may be part of something the director has business with, by its addresses: to a service
// or from a NAT server. Others are left alone, as the XDP program leaves them, also those of removed servers.
func (t *Twin) concerns(p *ip) bool {
	if t.virtual(p.dst) {
		return true
	}
	for _, s := range t.services {
		for _, d := range s.servers {
			if d.method == "nat" && d.addr == p.src {
				return true
			}
		}
	}
	return false
}

// vlan is the interface of a tag on another.
func (t *Twin) vlan(parent int, tag uint16) int {
	for i, f := range t.cfg.Interfaces {
		if i != parent && f.Parent == parent && f.VLAN == tag {
			return i
		}
	}
	return -1
}

// handle takes a whole packet through the steps of connections.md 1.1.
func (t *Twin) handle(p *ip) Outcome {
	if p.proto == protoICMP && !p.v6 || p.proto == protoICMP6 && p.v6 {
		return t.icmp(p)
	}
	if p.proto != protoTCP && p.proto != protoUDP {
		return Outcome{Verdict: Pass, Reason: perf.PassProtocol}
	}
	sport, dport, ok := p.ports()
	flags := 0
	if need := map[int]int{protoTCP: 20, protoUDP: 8}[p.proto]; len(p.raw) < p.head+need {
		ok = false
	}
	if !ok {
		if t.own(p.dst) {
			return Outcome{Verdict: Drop, Reason: perf.BadTransportHeader}
		}
		return Outcome{Verdict: Pass, Reason: perf.PassNoService}
	}
	if p.proto == protoTCP {
		flags = int(p.raw[p.head+13])
	}
	src, dst := netip.AddrPortFrom(p.src, sport), netip.AddrPortFrom(p.dst, dport)
	if c := t.findOut(p.proto, src, dst); c != nil {
		return t.reply(p, c, flags)
	}
	return t.arrive(p, src, dst, flags)
}

// reply is the OUT step: a packet from a server to a client, forwarded by the ordinary rules first.
func (t *Twin) reply(p *ip, c *conn, flags int) Outcome {
	if c.method != "nat" {
		if !p.v6 { // its source is the director's own: the kernel drops it before the OUT step
			return Outcome{Verdict: Pass, Reason: perf.PassNoService}
		}
		t.Disputed = append(t.Disputed, "reply of a DR or tunnel server through the director")
	}
	to, out := t.forwardable(p)
	if out != nil {
		return *out
	}
	q := p.clone()
	lowerTTL(q)
	if c.method == "nat" {
		rewrite(q, c.virtual, true)
	}
	c.count(true, len(p.raw))
	t.step(c, true, flags)
	return t.send(q, to, nil)
}

// forwardable makes the checks of ordinary forwarding: route, TTL, MTU. Errors go to the sender, about the packet as it came.
func (t *Twin) forwardable(p *ip) (path, *Outcome) {
	to, ok := t.route(p.dst)
	if !ok {
		o := t.refuse(p, perf.NoRoute, unreachableHost, 0, netip.Addr{})
		return to, &o
	}
	if p.ttl <= 1 {
		o := t.refuse(p, perf.TTLExceeded, timeExceeded, 0, netip.Addr{})
		return to, &o
	}
	if t.tooLong(p, to.mtu) {
		o := t.refuse(p, perf.TooBig, tooBig, to.mtu, netip.Addr{})
		return to, &o
	}
	return to, nil
}

// tooLong tells whether a packet may not be made to fit.
func (t *Twin) tooLong(p *ip, limit int) bool {
	switch {
	case !p.v6:
		return p.df && len(p.raw) > limit
	case p.sizes != nil:
		return p.largest > limit
	}
	return len(p.raw) > limit
}

// arrive is the IN step: a packet from a client.
func (t *Twin) arrive(p *ip, src, dst netip.AddrPort, flags int) Outcome {
	c := t.findIn(p.proto, src, dst)
	if c != nil && p.proto == protoTCP && flags&flagSYN != 0 && t.renewed(c) {
		t.unlink(c)
		c = nil
	}
	if c != nil && !c.server.available {
		if t.tunables["expire_nodest_conn"] == 0 {
			return Outcome{Verdict: Drop, Reason: perf.ServerRemoved}
		}
		t.unlink(c)
		c = nil
	}
	if c == nil {
		var o *Outcome
		if c, o = t.schedule(p, src, dst, flags); o != nil {
			return *o
		}
	}
	c.count(false, len(p.raw))
	t.step(c, false, flags)
	return t.transmit(p, c, false)
}

// renewed tells whether a SYN on an old connection opens a new one (connections.md 8).
func (t *Twin) renewed(c *conn) bool {
	if t.tunables["expire_nodest_conn"] != 0 && c.server.weight == 0 {
		return true
	}
	mode := t.tunables["conn_reuse_mode"]
	return mode != 0 && c.control == nil && (c.state == stTimeWait || c.state == stClose || c.state == stFinWait && c.noOutput && mode&2 != 0)
}

// schedule makes the connection of a first packet (connections.md 3).
func (t *Twin) schedule(p *ip, src, dst netip.AddrPort, flags int) (*conn, *Outcome) {
	svc := t.find(p.proto, dst.Addr(), dst.Port())
	if p.proto == protoTCP && (flags&flagSYN == 0 && t.tunables["sloppy_tcp"] == 0 || flags&flagRST != 0) {
		reason := perf.PassNotNew
		if svc == nil {
			reason = perf.PassNoService
		}
		return nil, &Outcome{Verdict: Pass, Reason: reason}
	}
	if svc == nil {
		return nil, &Outcome{Verdict: Pass, Reason: perf.PassNoService}
	}
	if src.Port() == 20 {
		return nil, &Outcome{Verdict: Pass, Reason: perf.PassNotNew}
	}
	if p.src.IsLoopback() {
		return nil, &Outcome{Verdict: Drop, Reason: perf.LoopbackSource}
	}
	if b := p.src.AsSlice(); p.src.IsUnspecified() || p.src.IsMulticast() || !p.v6 && b[0] >= 240 {
		return nil, &Outcome{Verdict: Pass, Reason: perf.PassNoService} // the kernel's route look-up calls it martian
	}
	var d *server
	var control *conn
	if svc.persist != 0 {
		control, d = t.persistent(svc, src, dst)
	} else {
		d = svc.pick(p.src)
	}
	if d == nil {
		o := t.refuse(p, perf.NoServer, unreachablePort, 0, p.dst)
		return nil, &o
	}
	c := &conn{proto: p.proto, client: src, virtual: dst, dst: netip.AddrPortFrom(d.addr, d.port), server: d, svc: svc, method: d.method, control: control}
	c.noOutput = d.method != "nat"
	t.link(c)
	d.stats.Conns++
	svc.stats.Conns++
	return c, nil
}

// persistent is the template of a client's network, old or new, and the server that it leads to (connections.md 5.3).
func (t *Twin) persistent(svc *service, src, dst netip.AddrPort) (*conn, *server) {
	network, _ := src.Addr().Prefix(svc.mask)
	client := netip.AddrPortFrom(network.Addr(), 0)
	var found *conn
	for _, c := range t.conns {
		if c.template && !c.invalid && c.proto == svc.proto && c.client == client && c.virtual == dst {
			found = c
		}
	}
	if found != nil && (!found.server.available || t.tunables["expire_quiescent_template"] != 0 && found.server.weight == 0) {
		found.invalid = true
		found.dst = netip.AddrPortFrom(found.dst.Addr(), 65535)
		found = nil
	}
	if found == nil {
		d := svc.pick(src.Addr())
		if d == nil {
			return nil, nil
		}
		found = &conn{proto: svc.proto, client: client, virtual: dst, dst: netip.AddrPortFrom(d.addr, d.port), server: d, svc: svc, method: d.method, template: true, timeout: svc.persist}
		t.link(found)
	}
	found.deadline = t.now + found.timeout
	return found, found.server
}
