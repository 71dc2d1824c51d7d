package worker

import (
	"encoding/binary"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/modes"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

// other takes a frame that is no whole transport packet.
func (w *Worker) other(port int, d ring.Desc, p *packet.Parsed) {
	base := frameBase(d.Addr)
	switch p.Kind {
	case packet.NotIP:
		w.stats.Passed(perf.PassNotIP, 1)
		w.frames.Put(base)
		return
	case packet.Runt:
		w.drop(base, perf.Runt)
		return
	case packet.BadIP:
		w.drop(base, perf.BadIPHeader)
		return
	}
	var k pkt
	w.load(&k, port, d, p)
	packet.Parse(w.mem[d.Addr:][:d.Len], &k.key, &k.p)
	if !w.snap.Services.Serves(k.key.Family) {
		w.toKernel(&k, perf.PassNothingSetUp)
		return
	}
	switch p.Kind {
	case packet.Fragment:
		w.collect(&k)
	default:
		w.whole(&k)
	}
}

// whole takes a packet that is whole, or has become so, and is not known to be a transport packet.
func (w *Worker) whole(k *pkt) {
	switch k.p.Kind {
	case packet.Transport:
		w.transport(k)
	case packet.ICMP:
		w.icmp(k)
	case packet.BadTransport:
		if w.snap.Services.HasAddr(k.key.Dst) {
			w.dispose(k, perf.BadTransportHeader)
		} else {
			w.toKernel(k, perf.PassNoService)
		}
	case packet.OtherProto:
		if isIPsec(k.key.Proto) {
			w.ipsec(k)
		} else {
			w.toKernel(k, perf.PassProtocol)
		}
	default:
		w.dispose(k, perf.BadIPHeader)
	}
}

// quote is the packet that an ICMP error is about, as offsets into the pkt's buffer.
type quote struct {
	l3, l4 int
	key    packet.Tuple // of AH and ESP: the IKE connection's
	ipsec  bool         // AH or ESP: nothing behind the IP header is rewritten, and l4 is the end of the buffer's packet
}

// icmp handles ICMP: errors about connections are translated or forwarded, everything else is the kernel's, echo to a
// virtual address included (spec/connections.md 9).
func (w *Worker) icmp(k *pkt) {
	var q quote
	if !k.relatedError() || !k.quoted(&q) {
		w.toKernel(k, perf.PassICMP)
		return
	}
	// The error's connection stands under the quoted packet's reverse: a reply's reverse is a client's packet, a NATed
	// client packet's reverse is a server's.
	back := packet.Tuple{Src: q.key.Dst, Dst: q.key.Src, SrcPort: q.key.DstPort, DstPort: q.key.SrcPort, Proto: q.key.Proto, Family: q.key.Family}
	if ref, dir := w.flows.Lookup(&back); ref != 0 {
		if dir == flow.Out {
			w.icmpFromServer(k, &q, w.flows.Conn(ref))
		} else if w.snap.Tunables.BackupOnly {
			w.toKernel(k, perf.PassBackup)
		} else {
			w.icmpFromClient(k, &q, ref, w.flows.Conn(ref))
		}
		return
	}
	if ref, dir := w.flows.Lookup(&q.key); ref != 0 && dir == flow.In {
		if c := w.flows.Conn(ref); service.Method(c.Method()) != service.NAT {
			w.countOut(c, k.len()) // about a client's packet, on its way to the client: unchanged (spec/connections.md 9.3)
		}
		w.toKernel(k, perf.PassICMP)
		return
	}
	if w.snap.Tunables.BackupOnly {
		w.toKernel(k, perf.PassBackup)
		return
	}
	if w.icmpFromTunnel(k) || !q.ipsec && w.scheduleICMP(k, &q, &back) {
		return
	}
	w.toKernel(k, perf.PassICMP)
}

// relatedError tells whether an ICMP message is of the types that LVS relates to connections: spec/connections.md 9.1.
func (k *pkt) relatedError() bool {
	if k.l4+8 > k.end {
		return false
	}
	t := k.buf[k.l4]
	if k.v6() {
		return t < 128
	}
	return t == icmpUnreachable || t == icmpSourceQuench || t == icmpTimeExceeded
}

// quoted finds the embedded packet; false if there is none, or no ports where there should be.
func (k *pkt) quoted(q *quote) bool {
	q.l3 = k.l4 + 8
	b := k.buf[q.l3:k.end]
	q.key.Family = k.key.Family
	if k.v6() {
		if len(b) < 40 || b[0]>>4 != 6 {
			return false
		}
		proto, off, ok := packet.UpperHeader6(b)
		if !ok {
			return false
		}
		q.key.Src, q.key.Dst, q.key.Proto = packet.AddrFrom16(b[8:24]), packet.AddrFrom16(b[24:40]), proto
		q.l4 = q.l3 + off
	} else {
		if len(b) < 20 || b[0]>>4 != 4 || b[0]&15 < 5 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return false
		}
		q.key.Src, q.key.Dst, q.key.Proto = packet.AddrFrom4(b[12:16]), packet.AddrFrom4(b[16:20]), b[9]
		q.l4 = q.l3 + int(b[0]&15)*4
	}
	switch q.key.Proto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP:
		if q.l4+4 > k.end {
			return false
		}
		q.key.SrcPort = binary.BigEndian.Uint16(k.buf[q.l4:])
		q.key.DstPort = binary.BigEndian.Uint16(k.buf[q.l4+2:])
	case packet.ProtoESP, packet.ProtoAH:
		q.key, q.l4, q.ipsec = ikeKey(&q.key), k.end, true
	}
	return true
}

// icmpFromClient takes an error about a packet server to client on to the server (spec/connections.md 9.2).
func (w *Worker) icmpFromClient(k *pkt, q *quote, ref flow.Ref, c *flow.Conn) {
	method := service.Method(c.Method())
	k.forced = true
	if method != service.NAT {
		w.countIn(c, k.len())
		w.countPacket(c)
		w.forward(k, c)
		return
	}
	if !modes.ICMPChecksumOK(k.ip(), k.l4-k.l3) {
		w.dispose(k, perf.BadICMPChecksum)
		return
	}
	w.countIn(c, k.len())
	r := w.snap.Net.Route(c.Dest)
	switch {
	case r.Kind == neigh.LocalAddr:
		k.ip()[k.ttlAt()]++ // delivered here: the TTL stays
		modes.ICMPIn(k.ip(), k.l4-k.l3, q.l3-k.l3, q.l4-k.l3, c.Dest, c.DPort)
		w.toKernel(k, perf.PassLocal)
	case r.Kind != neigh.Unicast:
		w.dispose(k, perf.NoRoute)
	case k.p.TTL <= 1:
		w.dispose(k, perf.TTLExceeded)
	case !w.fits(k, nil, int(r.MTU)):
	default:
		modes.ICMPIn(k.ip(), k.l4-k.l3, q.l3-k.l3, q.l4-k.l3, c.Dest, c.DPort)
		w.send(k, &r, undo{silent: true})
	}
}

// icmpFromServer takes an error about a NATed packet client to server on to the client (spec/connections.md 9.3).
func (w *Worker) icmpFromServer(k *pkt, q *quote, c *flow.Conn) {
	k.forced = true
	r := w.snap.Net.Route(k.key.Dst)
	if !w.routable(k, &r) { // the checks of forwarding come first
		return
	}
	if !modes.ICMPChecksumOK(k.ip(), k.l4-k.l3) {
		w.dispose(k, perf.BadICMPChecksum)
		return
	}
	if r.Kind == neigh.LocalAddr {
		w.toKernel(k, perf.PassICMP)
		return
	}
	modes.ICMPOut(k.ip(), k.l4-k.l3, q.l3-k.l3, q.l4-k.l3, c.Virtual, c.VPort)
	w.countOut(c, k.len())
	w.send(k, &r, undo{silent: true})
}

func (k *pkt) ttlAt() int {
	if k.v6() {
		return 7
	}
	return 8
}

// scheduleICMP opens a connection for an error that has none, as if it were a packet of the quoted connection in reverse,
// where schedule_icmp asks for it (spec/connections.md 9.4).
func (w *Worker) scheduleICMP(k *pkt, q *quote, back *packet.Tuple) bool {
	if !w.snap.Tunables.ScheduleICMP {
		return false
	}
	mark := w.snap.Services.MarkOf(back.Dst, back.Proto, back.DstPort)
	svc := w.snap.Services.Lookup(mark, back.Family, back.Proto, back.Dst, back.DstPort)
	if svc == nil || !openable(back.Proto) {
		return false
	}
	if w.defence.drops(&w.snap.Tunables, w.now) {
		w.dispose(k, perf.DefenceDropPacket)
		return true
	}
	if back.SrcPort == 20 {
		return false
	}
	n := *k
	n.key = *back
	var ref flow.Ref
	var reason perf.Reason
	if svc.Persistent {
		ref, reason = w.openPersistent(&n, svc)
	} else {
		ref, reason = w.open(&n, svc)
	}
	switch {
	case ref != 0:
		c := w.flows.Conn(ref)
		w.icmpFromClient(k, q, ref, c)
		w.forgetOnePacket(ref, c)
	case reason == perf.NoServer && svc.Port == portFTP && svc.Mark == 0 && back.DstPort != portFTP:
		w.toKernel(k, perf.PassNoServerFTP)
	default:
		w.dispose(k, reason)
	}
	return true
}

// openable tells whether packets of a protocol open connections.
func openable(proto uint8) bool {
	return proto == packet.ProtoTCP || proto == packet.ProtoUDP || proto == packet.ProtoSCTP
}
