package worker

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/modes"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

// unusual takes a whole transport packet that established did not want.
func (w *Worker) unusual(port int, d ring.Desc, p *packet.Parsed, key *packet.Tuple) {
	var k pkt
	w.load(&k, port, d, p)
	k.key = *key
	w.transport(&k)
}

// transport is the whole decision about a TCP, UDP or SCTP packet, in the order of spec/connections.md 1.2 and 1.3: the
// OUT step, then the IN step, then a new connection.
func (w *Worker) transport(k *pkt) {
	if !w.snap.Services.Serves(k.key.Family) {
		w.toKernel(k, perf.PassNothingSetUp)
		return
	}
	ref, dir := w.flows.Lookup(&k.key)
	if k.rest != nil && !w.staysChained(k, ref) {
		w.inOnePiece(k)
	}
	if ref != 0 && dir == flow.Out {
		w.reply(k, ref, w.flows.Conn(ref))
		return
	}
	if w.snap.Tunables.BackupOnly { // a backup leaves clients' packets alone
		if ref != 0 || !w.foreignReply(k, &k.key) && !w.serverBegins(k) && !w.straySender(k) {
			w.toKernel(k, perf.PassBackup)
		}
		return
	}
	if ref == 0 && w.flows.HasNoCPort() {
		if filled, ok := w.fillClientPort(k); ok {
			ref = filled
		}
	}
	if ref == 0 {
		if w.foreignReply(k, &k.key) || w.serverBegins(k) || w.straySender(k) {
			return
		}
		w.schedule(k)
		return
	}
	c := w.flows.Conn(ref)
	switch w.admit(k, ref, c) {
	case belongs:
		w.deliver(k, ref, c)
	case reschedule:
		w.schedule(k)
	}
}

// fate is what becomes of a client packet that hits a known connection.
type fate uint8

const (
	belongs    fate = iota // it belongs to the connection
	reschedule             // the connection is gone now; the packet is as good as new
	disposed               // dropped
)

// admit decides whether a client packet belongs to the connection that it hits (spec/connections.md 1.2 steps 7 and 8, 8).
func (w *Worker) admit(k *pkt, ref flow.Ref, c *flow.Conn) fate {
	if k.opens() && w.reusable(c) && w.remove(ref, c) {
		return reschedule
	}
	if s := w.server(c); s != nil && !s.Available() {
		if w.snap.Tunables.ExpireNoDest {
			w.remove(ref, c)
			return reschedule
		}
		w.dispose(k, perf.ServerRemoved)
		return disposed
	}
	return belongs
}

// opens tells whether the packet is of the kind that opens a connection: TCP with SYN, SCTP INIT (spec/connections.md 1.2
// step 7).
func (k *pkt) opens() bool {
	switch k.key.Proto {
	case packet.ProtoTCP:
		return k.p.Flags&packet.SYN != 0
	case packet.ProtoSCTP:
		return k.l4+12 < k.end && k.buf[k.l4+12] == 1
	}
	return false
}

// reusable tells whether an opening packet may replace the connection that it hits (spec/connections.md 8).
func (w *Worker) reusable(c *flow.Conn) bool {
	t := &w.snap.Tunables
	if s := w.server(c); t.ExpireNoDest && s != nil && s.LoadWeight() == 0 {
		return true
	}
	if t.ConnReuseMode == 0 || c.Controller() != 0 {
		return false
	}
	flags := c.LoadFlags()
	state := uint8(flags >> flow.StateShift)
	switch c.Proto {
	case packet.ProtoTCP:
		return state == flow.TCPTimeWait || state == flow.TCPClose ||
			state == flow.TCPFinWait && flags&flow.FlagNoOutput != 0 && t.ConnReuseMode&2 != 0
	case packet.ProtoSCTP:
		return state == flow.SCTPClosed
	}
	return false
}

// deliver takes a client packet to the connection's server: count, track, transmit (spec/connections.md 1.2 steps 10 to 12).
func (w *Worker) deliver(k *pkt, ref flow.Ref, c *flow.Conn) {
	w.countIn(c, k.len())
	w.track(ref, c, flow.In, k)
	if c.LoadFlags()&flow.FlagOnePacket == 0 {
		w.countPacket(c)
	} else if t := c.Controller(); t != 0 {
		w.countPacket(w.flows.Conn(t))
	}
	if c.LoadFlags()&flow.FlagHelper != 0 && !w.helpIn(k, ref, c) {
		return
	}
	w.forward(k, c)
}

// forward sends a client packet, or an ICMP error that follows one, by the connection's method (spec/forwarding.md 1).
func (w *Worker) forward(k *pkt, c *flow.Conn) {
	method := service.Method(c.Method())
	if method == service.Bypass {
		w.bypass(k)
		return
	}
	r := w.snap.reach(c.Server, c.Dest)
	switch r.Kind {
	case neigh.LocalAddr:
		w.deliverLocal(k, c, method)
		return
	case neigh.Unicast:
	default:
		w.refuse(k, perf.NoRoute)
		return
	}
	if loopback(k.key.Src) {
		w.dispose(k, perf.LoopbackSource)
		return
	}
	if k.p.TTL <= 1 {
		w.countError(c, w.timeExceeded(k, k.key.Dst))
		return
	}
	limit := int(r.MTU)
	t := w.snap.target(c.Server)
	if method == service.Tunnel {
		v6 := !c.Dest.Is4()
		limit = min(limit, w.paths.get(c.Dest, w.now))
		r.MTU = uint32(limit) // what the outer packet is cut to
		limit -= modes.Overhead(v6, t.tunnel, t.tunSum)
		if limit < 68 || v6 && limit < 1280 {
			w.dispose(k, perf.TunnelMTU)
			return
		}
	}
	if !w.fits(k, c, limit) {
		return
	}
	ip, u := k.ip(), undo{method: method, addr: c.Dest, port: c.DPort, l3: k.l3}
	switch method {
	case service.NAT:
		k.translateIn(c)
	case service.Tunnel:
		payload := k.l3 + k.unfragmentable(ip)
		k.l3 = w.encapsulate(k.buf, k.l3, k.end, t, r.Source, &k.key)
		if k.rest != nil {
			lengthen(k.ip(), k.restLen, t.tunnel == service.GUE)
		}
		if k.whole != nil {
			k.whole.inside = payload - k.l3 - k.unfragmentable(k.ip())
			k.whole.otherOuter = ip[0]>>4 != k.buf[k.l3]>>4
		}
	default:
		modes.DR(ip)
	}
	w.send(k, &r, u)
}

// fits applies the MTU rules for the client's half of a connection, or of none (spec/forwarding.md 5); false: the packet has
// been disposed of. Because the kernel decrements the TTL first, an error quotes it decremented.
func (w *Worker) fits(k *pkt, c *flow.Conn, limit int) bool {
	if k.v6() {
		n := k.len()
		if r := k.refragment(); r > 0 {
			n = r
		}
		if n <= limit {
			return true
		}
		if k.forced {
			w.dispose(k, perf.TooBig)
			return false
		}
		modes.DR(k.ip())
		w.countError(c, w.icmpError(k, icmp6TooBig, 0, uint32(limit), k.key.Dst))
		w.dispose(k, perf.TooBig)
		return false
	}
	if k.len() <= limit || k.forced || !k.p.DF || c != nil && service.Method(c.Method()) == service.Tunnel && !w.snap.Tunables.PMTUDisc {
		return true
	}
	modes.DR(k.ip())
	w.countError(c, w.icmpError(k, icmpUnreachable, icmpFragNeeded, uint32(limit), k.key.Dst))
	w.dispose(k, perf.TooBig)
	return false
}

// reply takes a NAT server's packet to the client (spec/connections.md 1.4, spec/forwarding.md 3.2). The checks of forwarding
// come before anything is counted or changed.
func (w *Worker) reply(k *pkt, ref flow.Ref, c *flow.Conn) {
	r := w.snap.Net.Route(c.Client)
	if !w.routable(k, &r) {
		return
	}
	if c.LoadFlags()&flow.FlagHelper != 0 && !w.helpOut(k, ref, c) {
		return
	}
	w.translate(k, ref, c, &r)
}

// translate counts and tracks a NAT server's packet, rewrites it for the client and sends it.
func (w *Worker) translate(k *pkt, ref flow.Ref, c *flow.Conn, r *neigh.Result) {
	w.countOut(c, k.len())
	w.track(ref, c, flow.Out, k)
	k.translateOut(c)
	if r.Kind == neigh.LocalAddr {
		w.toKernel(k, perf.PassLocal)
		return
	}
	if r.Hop != 0 && r.Hop <= hopMax && r.MTU == w.snap.egress[r.Hop].mtu {
		atomic.StoreUint32(&c.Hop, uint32(r.Hop)<<hopBits|w.snap.generation)
	}
	w.send(k, r, undo{method: service.NAT, reply: true, addr: c.Virtual, port: c.VPort})
}

// routable makes the checks of forwarding a packet that the director routes: a route, the TTL, the MTU. False: disposed of.
func (w *Worker) routable(k *pkt, r *neigh.Result) bool {
	switch r.Kind {
	case neigh.LocalAddr:
		return true
	case neigh.Unicast:
	default:
		w.refuseFrom(k, perf.NoRoute)
		return false
	}
	if k.p.TTL <= 1 {
		w.timeExceeded(k, w.ownAddress(k.key.Src))
		return false
	}
	if k.v6() {
		n := k.len()
		if g := k.refragment(); g > 0 {
			n = g
		}
		if n > int(r.MTU) {
			w.icmpError(k, icmp6TooBig, 0, r.MTU, w.ownAddress(k.key.Src))
			w.dispose(k, perf.TooBig)
			return false
		}
	} else if k.p.DF && k.len() > int(r.MTU) {
		w.icmpError(k, icmpUnreachable, icmpFragNeeded, r.MTU, w.ownAddress(k.key.Src))
		w.dispose(k, perf.TooBig)
		return false
	}
	return true
}

// foreignReply looks whether a packet is the answer of a DR or tunnel server that comes back through the director: the
// connection stands under the reverse of its addresses. An IPv6 one is routed on; of an IPv4 one the source is an address
// of the director's own, which the kernel refuses as martian, so it is left to the kernel (spec/forwarding.md 4). key is
// the packet's, or the one that it is looked up by.
func (w *Worker) foreignReply(k *pkt, key *packet.Tuple) bool {
	if !w.snap.Services.HasAddr(k.key.Src) && w.snap.Services.Marks == nil {
		return false
	}
	ref := w.flows.LookupReply(key)
	if ref == 0 {
		return false
	}
	if !k.v6() {
		w.toKernel(k, perf.PassNoService)
		return true
	}
	r := w.snap.Net.Route(k.key.Dst)
	if !w.routable(k, &r) {
		return true
	}
	c := w.flows.Conn(ref)
	w.countOut(c, k.len())
	w.track(ref, c, flow.Out, k)
	if r.Kind == neigh.LocalAddr {
		w.toKernel(k, perf.PassLocal)
		return true
	}
	modes.DR(k.ip())
	w.send(k, &r, undo{method: service.DR, reply: true})
	return true
}

// straySender answers a NAT server's packet of no connection with port unreachable, where nat_icmp_send asks for it
// (spec/connections.md 1.3 step 7).
func (w *Worker) straySender(k *pkt) bool {
	if !w.snap.Tunables.NATICMPSend || !w.snap.Services.NATServer(k.key.Proto, k.key.Src, k.key.SrcPort) {
		return false
	}
	switch k.key.Proto {
	case packet.ProtoTCP:
		if k.p.Flags&packet.RST != 0 {
			return false
		}
	case packet.ProtoSCTP:
		if k.l4+12 < k.end && k.buf[k.l4+12] == 6 {
			return false
		}
	}
	r := w.snap.Net.Route(k.key.Dst)
	if r.Kind != neigh.LocalAddr { // forwarded: the error quotes it a hop older
		if !w.routable(k, &r) {
			return true
		}
		modes.DR(k.ip())
	}
	w.portUnreachable(k, w.ownAddress(k.key.Src))
	w.dispose(k, perf.StrayReply)
	return true
}

// deliverLocal hands a packet whose server is the director itself to the local stack: rewritten for NAT, as it is for the
// other methods (spec/forwarding.md 7).
func (w *Worker) deliverLocal(k *pkt, c *flow.Conn, method service.Method) {
	if method == service.NAT {
		if loopback(c.Dest) {
			w.dispose(k, perf.LoopbackSource)
			return
		}
		if isIPsec(k.key.Proto) {
			modes.ReplaceAddress(k.ip(), false, c.Dest)
		} else {
			modes.ReplaceDst(k.ip(), k.l4-k.l3, k.key.Proto, k.key.Dst, c.Dest, k.key.DstPort, c.DPort)
		}
	}
	w.toKernel(k, perf.PassLocal)
}

// bypass routes a packet to its own destination (spec/forwarding.md 6.7).
func (w *Worker) bypass(k *pkt) {
	r := w.snap.Net.Route(k.key.Dst)
	switch {
	case r.Kind != neigh.Unicast:
		w.refuse(k, perf.NoRoute)
	case k.p.TTL <= 1:
		w.timeExceeded(k, w.ownAddress(k.key.Src))
	case !w.fits(k, nil, int(r.MTU)):
	default:
		modes.DR(k.ip())
		w.send(k, &r, undo{method: service.DR})
	}
}

func loopback(a packet.Addr) bool {
	if a.Is4() {
		return a.V4()>>24 == 127
	}
	return a == packet.Addr{Lo: packet.AddrFrom16([]byte{15: 1}).Lo}
}

// ownAddress is the director's address on the path to a: the source of errors that are not about a virtual service.
func (w *Worker) ownAddress(a packet.Addr) packet.Addr { return w.snap.Net.Route(a).Source }
