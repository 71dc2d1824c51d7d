package worker

import (
	"encoding/binary"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/modes"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

// ICMP and ICMPv6 types and codes that the director sends (RFC 792, RFC 4443).
const (
	icmpUnreachable     = 3
	icmpHostUnreachable = 1
	icmpPortUnreachable = 3
	icmpFragNeeded      = 4
	icmpSourceQuench    = 4
	icmpTimeExceeded    = 11

	icmp6Unreachable     = 1
	icmp6AddrUnreachable = 3
	icmp6PortUnreachable = 4
	icmp6TooBig          = 2
	icmp6TimeExceeded    = 3
)

// timeExceeded tells the sender that the TTL ran out, and drops the packet. It returns the error's length as icmpError does.
func (w *Worker) timeExceeded(k *pkt, source packet.Addr) (length int) {
	if k.v6() {
		length = w.icmpError(k, icmp6TimeExceeded, 0, 0, source)
	} else {
		length = w.icmpError(k, icmpTimeExceeded, 0, 0, source)
	}
	w.dispose(k, perf.TTLExceeded)
	return length
}

// countError counts an error of so many bytes about a client's packet: on its way out of the director it passes LVS, which
// finds the connection that it quotes and takes it for the server's. In NAT it finds none, for replies have other
// addresses there, nor where a connection lasts for one packet and is not in the table.
func (w *Worker) countError(c *flow.Conn, length int) {
	if length > 0 && c != nil && service.Method(c.Method()) != service.NAT && c.LoadFlags()&flow.FlagOnePacket == 0 {
		w.countOut(c, length)
	}
}

// portUnreachable tells the sender that nobody is there; the packet stays the caller's.
func (w *Worker) portUnreachable(k *pkt, source packet.Addr) {
	if k.v6() {
		w.icmpError(k, icmp6Unreachable, icmp6PortUnreachable, 0, source)
	} else {
		w.icmpError(k, icmpUnreachable, icmpPortUnreachable, 0, source)
	}
}

// refuse tells a client that its server cannot be reached, and drops the packet.
func (w *Worker) refuse(k *pkt, r perf.Reason) {
	w.hostUnreachable(k, k.key.Dst)
	w.dispose(k, r)
}

// refuseFrom is refuse for a packet that the director routes.
func (w *Worker) refuseFrom(k *pkt, r perf.Reason) {
	w.hostUnreachable(k, w.ownAddress(k.key.Src))
	w.dispose(k, r)
}

func (w *Worker) hostUnreachable(k *pkt, source packet.Addr) {
	if k.v6() {
		w.icmpError(k, icmp6Unreachable, icmp6AddrUnreachable, 0, source)
	} else {
		w.icmpError(k, icmpUnreachable, icmpHostUnreachable, 0, source)
	}
}

// icmpError sends an ICMP error about k to its sender (fields and sizes: spec/forwarding.md 5.1). info is the second word of
// the ICMP header. No error is sent about an error, to nobody, or to many. k stays the caller's. It returns the
// length of the packet made, 0 if none was.
func (w *Worker) icmpError(k *pkt, typ, code uint8, info uint32, source packet.Addr) (length int) {
	to := k.key.Src
	if k.forced || k.p.Kind == packet.ICMP && k.isICMPError() || !singleHost(to) || source.IsZero() {
		return 0
	}
	return w.sendError(to, source, k.ip(), typ, code, info)
}

// sendError builds the error about quoted and sends it to a host, at the rate that is allowed. What path MTU discovery
// needs is exempt from that. It returns the error's length, 0 if it is not sent.
func (w *Worker) sendError(to, source packet.Addr, quoted []byte, typ, code uint8, info uint32) (length int) {
	exempt := typ == icmp6TooBig
	if to.Is4() {
		exempt = typ == icmpUnreachable && code == icmpFragNeeded
	}
	if !exempt && !w.limiter.allow(to, w.now) {
		return 0
	}
	r := w.snap.Net.Route(to)
	f, ok := w.frames.Get()
	if !ok {
		w.stats.Drop(perf.NoFrame, 1)
		return 0
	}
	e := pkt{frame: f, buf: w.mem[f:][:ring.FrameSize], l3: ring.Headroom, iface: r.Interface, frames: 1}
	if quoted[0]>>4 == 4 {
		w.buildError4(&e, to, source, quoted, typ, code, info)
	} else {
		buildError6(&e, to, source, quoted, typ, code, info)
	}
	w.stats.Generated()
	length = e.len()
	if r.Kind == neigh.LocalAddr {
		w.toKernel(&e, perf.PassLocal)
		return length
	}
	if r.Kind != neigh.Unicast {
		w.dispose(&e, perf.NoRoute)
		return 0
	}
	e.reparse()
	w.send(&e, &r, undo{silent: true})
	return length
}

func (w *Worker) buildError4(e *pkt, to, source packet.Addr, quoted []byte, typ, code uint8, info uint32) {
	quoted = quoted[:min(len(quoted), 576-28)]
	e.end = e.l3 + 28 + len(quoted)
	h := e.buf[e.l3:e.end]
	h[0], h[1] = 0x45, quoted[1]&0x1e|0xc0
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)))
	binary.BigEndian.PutUint16(h[4:], w.nextID())
	h[6], h[7], h[8], h[9] = 0, 0, 64, packet.ProtoICMP
	source.Put4(h[12:])
	to.Put4(h[16:])
	packet.SetHeaderChecksum(h)
	h[20], h[21] = typ, code
	binary.BigEndian.PutUint32(h[24:], info)
	copy(h[28:], quoted)
	modes.SetICMPChecksum(h, 20)
}

func buildError6(e *pkt, to, source packet.Addr, quoted []byte, typ, code uint8, info uint32) {
	quoted = quoted[:min(len(quoted), 1280-48)]
	e.end = e.l3 + 48 + len(quoted)
	h := e.buf[e.l3:e.end]
	h[0], h[1], h[2], h[3] = 0x60, 0, 0, 0
	binary.BigEndian.PutUint16(h[4:], uint16(len(h)-40))
	h[6], h[7] = packet.ProtoICMPv6, 64
	source.Put16(h[8:])
	to.Put16(h[24:])
	h[40], h[41] = typ, code
	binary.BigEndian.PutUint32(h[44:], info)
	copy(h[48:], quoted)
	modes.SetICMPChecksum(h, 40)
}

// isICMPError tells whether k, an ICMP packet, is an error message.
func (k *pkt) isICMPError() bool {
	if k.l4 >= k.end {
		return true
	}
	t := k.buf[k.l4]
	if k.v6() {
		return t < 128
	}
	return t == 3 || t == 4 || t == 5 || t == 11 || t == 12
}

// singleHost tells whether an address names one host: not unspecified, multicast or broadcast.
func singleHost(a packet.Addr) bool {
	if a.Is4() {
		v := a.V4()
		return v != 0 && v>>28 < 14
	}
	b := a.As16()
	return !a.IsZero() && b[0] != 0xff
}

// icmpLimiter is the kernel's rate limit per destination: a bucket of six tokens, one more a second (icmp_ratelimit,
// spec/forwarding.md 5.1), in a small table where a collision shares a bucket.
type icmpLimiter struct {
	enabled bool
	buckets [256]struct {
		tokens int64 // in nanoseconds of credit
		last   int64
	}
}

func (l *icmpLimiter) allow(to packet.Addr, now int64) bool {
	if !l.enabled {
		return true
	}
	const cost, burst = int64(clock.Second), 6 * int64(clock.Second)
	h := (to.Hi ^ to.Lo) * 0x9e3779b97f4a7c15
	b := &l.buckets[h>>56]
	if b.last == 0 {
		b.tokens = burst
	} else {
		b.tokens = min(b.tokens+now-b.last, burst)
	}
	b.last = max(now, 1)
	if b.tokens < cost {
		return false
	}
	b.tokens -= cost
	return true
}
