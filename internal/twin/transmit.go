package twin

import (
	"net/netip"

	"github.com/fastlb/fastlb/perf"
)

// transmit sends a client's packet to the connection's server by its method (forwarding.md 1). about marks a forwarded
// ICMP error, which is never refused for its length by a message.
func (t *Twin) transmit(p *ip, c *conn, about bool) Outcome {
	to, ok := t.route(c.dst.Addr())
	if !ok {
		return t.refuse(p, perf.NoRoute, unreachableHost, 0, p.dst)
	}
	if p.src.IsLoopback() {
		return Outcome{Verdict: Drop, Reason: perf.LoopbackSource}
	}
	if p.ttl <= 1 {
		return t.refused(c, t.refuse(p, perf.TTLExceeded, timeExceeded, 0, p.dst))
	}
	q := p.clone()
	lowerTTL(q)
	limit := to.mtu
	if c.method == "tunnel" {
		least := 68
		limit -= 20 + c.server.tunnel.overhead()
		if c.dst.Addr().Is6() {
			limit -= 20
			least = 1280
		}
		if limit < least {
			return Outcome{Verdict: Drop, Reason: perf.TunnelMTU}
		}
	}
	if t.tooLong(p, limit) {
		free := !p.v6 && (about || c.method == "tunnel" && t.tunables["pmtu_disc"] == 0)
		if !free {
			return t.refused(c, t.refuse(q, perf.TooBig, tooBig, limit, p.dst))
		}
	}
	if !to.solved {
		return t.refuse(p, perf.NoNeighbor, unreachableHost, 0, p.dst)
	}
	switch c.method {
	case "nat":
		if about {
			rewriteAbout(q, c.dst, false)
		} else {
			rewrite(q, c.dst, false)
		}
	case "tunnel":
		return t.send(t.wrap(q, to.source, c.dst.Addr(), &c.server.tunnel), to, q)
	}
	return t.send(q, to, nil)
}

// refused counts the error that the director made for a client, if it made one: on its way out it is taken for the server's,
// but in NAT, where a server's packets have other addresses.
func (t *Twin) refused(c *conn, o Outcome) Outcome {
	if t.made > 0 && c.method != "nat" {
		c.count(true, t.made)
	}
	return o
}

// lowerTTL takes one hop off.
func lowerTTL(p *ip) {
	p.ttl--
	if p.v6 {
		p.raw[7]--
		return
	}
	p.raw[8]--
	headerSum(p.raw)
}

// rewrite puts another address and port into a packet: its source's, or its destination's.
func rewrite(p *ip, to netip.AddrPort, source bool) {
	at, n, portAt := addressAt(p.v6, source), 4, p.head+2
	if p.v6 {
		n = 16
	}
	if source {
		portAt = p.head
		p.src = to.Addr()
	} else {
		p.dst = to.Addr()
	}
	old := append(append([]byte(nil), p.raw[at:at+n]...), p.raw[portAt:portAt+2]...)
	put := be.AppendUint16(to.Addr().AsSlice(), to.Port())
	copy(p.raw[at:], put[:n])
	copy(p.raw[portAt:], put[n:])
	if !p.v6 {
		headerSum(p.raw)
	}
	l4 := p.raw[p.head:]
	switch {
	case p.proto == protoTCP:
		be.PutUint16(l4[16:], change(be.Uint16(l4[16:]), old, put))
	case len(l4) < 8:
	default:
		s := be.Uint16(l4[6:])
		if s == 0 {
			s = ^fold(words(l4) + pseudo(p, protoUDP, len(l4)))
		} else {
			s = change(s, old, put)
		}
		if s == 0 {
			s = 0xffff
		}
		be.PutUint16(l4[6:], s)
	}
}

// addressAt is the offset of the source or destination address in an IP header.
func addressAt(v6, source bool) int {
	switch {
	case v6 && source:
		return 8
	case v6:
		return 24
	case source:
		return 12
	}
	return 16
}

// wrap puts the tunnel's headers in front (forwarding.md 6.1, 6.2).
func (t *Twin) wrap(p *ip, src, dst netip.Addr, tun *tunnel) *ip {
	proto, inside := tun.wrap(p, src, dst)
	tos := p.tos
	if tos&3 == 3 {
		tos = tos&^3 | 2
	}
	var h []byte
	if dst.Is4() {
		h = make([]byte, 20)
		h[0], h[1], h[8], h[9] = 0x45, byte(tos), byte(p.ttl), byte(proto)
		be.PutUint16(h[2:], uint16(20+len(inside)))
		if p.df && !p.v6 && t.tunables["pmtu_disc"] != 0 {
			be.PutUint16(h[6:], 0x4000)
		} else {
			be.PutUint16(h[4:], t.id())
		}
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		headerSum(h)
	} else {
		h = make([]byte, 40)
		be.PutUint16(h, 0x6000|uint16(tos)<<4)
		be.PutUint16(h[4:], uint16(len(inside)))
		h[6], h[7] = byte(proto), byte(p.ttl)
		copy(h[8:], src.AsSlice())
		copy(h[24:], dst.AsSlice())
	}
	o := &ip{raw: append(h, inside...), v6: dst.Is6(), src: src, dst: dst, proto: proto, ttl: p.ttl, tos: tos, head: len(h), id: uint32(t.nextID)}
	o.df = dst.Is4() && be.Uint16(h[6:])&0x4000 != 0
	return o
}

// id is the next identification of the director's own packets.
func (t *Twin) id() uint16 {
	t.nextID++
	return t.nextID
}

// pieces divides a packet for a link. A packet that came in fragments leaves in fragments: of the same sizes if all of
// them fit, else as large as the link and the largest one received allow. inner is the packet in a tunnel's; then the
// first piece grows by the headers between, and what the kernel knows of the fragments is lost where the families differ
// (recorded: testdata/fragments.jsonl). None: with the tunnel's headers it has become longer than an IP packet can be.
func (t *Twin) pieces(p *ip, mtu int, inner *ip) [][]byte {
	came, largest := p.sizes, p.largest
	limit, whole := mtu, len(p.raw) <= mtu
	if inner != nil && inner.sizes != nil {
		came, largest = append([]int(nil), inner.sizes...), inner.largest
		came[0] += len(p.raw) - p.head - len(inner.raw) + inner.head
		if inner.v6 != p.v6 {
			largest = 0
		}
	}
	if came != nil && largest > 0 {
		whole = false
		limit = min(mtu, largest)
		if inner != nil && p.v6 {
			limit = min(mtu, max(1280, largest))
		}
	}
	if whole {
		return [][]byte{p.raw}
	}
	if !p.v6 && len(p.raw) > 65535 || p.v6 && len(p.raw)-40 > 65535 {
		return nil
	}
	room := limit - p.head
	if p.v6 {
		room = limit - perFragment(p.raw) - 8
	}
	for i, n := range came {
		if n > room || n%8 != 0 && i < len(came)-1 {
			came = nil
			break
		}
	}
	l := cut(p, limit, came, p.id)
	if p.df && !p.v6 && (p.sizes != nil || inner != nil && inner.sizes != nil) {
		for _, b := range l {
			b[6] |= 0x40
			headerSum(b)
		}
	}
	return l
}

// send puts a packet on the wire of its path. inner is what a tunnel's packet carries, or the packet itself when it is an
// ICMP error that the director made; nil for packets that are forwarded.
func (t *Twin) send(p *ip, to path, inner *ip) Outcome {
	if !to.solved {
		return Outcome{Verdict: Drop, Reason: perf.NoNeighbor}
	}
	f := t.cfg.Interfaces[to.iface]
	head := append(append([]byte(nil), to.mac[:]...), f.MAC[:]...)
	nic := to.iface
	var tags []byte
	for t.cfg.Interfaces[nic].Parent != nic {
		tags = append(be.AppendUint16([]byte{0x81, 0}, t.cfg.Interfaces[nic].VLAN), tags...)
		nic = t.cfg.Interfaces[nic].Parent
	}
	head = append(head, tags...)
	if p.v6 {
		head = append(head, 0x86, 0xdd)
	} else {
		head = append(head, 8, 0)
	}
	o := Outcome{Verdict: Drop, Reason: perf.Oversize}
	for _, b := range t.pieces(p, to.mtu, inner) {
		o.Verdict, o.Reason = Forward, perf.ReasonNone
		o.Sent = append(o.Sent, Sent{Interface: nic, Frame: append(append([]byte(nil), head...), b...), Made: inner != nil})
	}
	return o
}
