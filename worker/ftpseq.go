package worker

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
)

// seqAdjust is how the sequence numbers of a server's stream moved when the helper wrote an address anew: those after
// init by delta, those up to it by delta less the last change (spec/connections.md 15.3: init_seq, delta and
// previous_delta, as the sync protocol carries them). It is packed into flow.Conn.Seq: 32, 24 and 8 bits. No answer
// changes its length by more than maxChange, and it takes hundreds of thousands of them in one session to go beyond 24
// bits.
type seqAdjust struct {
	init   uint32
	delta  int32
	change int8
}

const maxChange = 127

func (a seqAdjust) pack() uint64 {
	return uint64(a.init)<<32 | uint64(uint32(a.delta)&0xffffff)<<8 | uint64(uint8(a.change))
}

func unpackSeq(v uint64) seqAdjust {
	return seqAdjust{init: uint32(v >> 32), delta: int32(uint32(v)) >> 8, change: int8(v)}
}

func (a seqAdjust) before() int32 { return a.delta - int32(a.change) }

// seq is what the client sees of a server's sequence number.
func (a seqAdjust) seq(s uint32) uint32 {
	if after(s, a.init) {
		return s + uint32(a.delta)
	}
	return s + uint32(a.before())
}

// ack is what the server is told of a client's acknowledgement. The comparison is the kernel's of today (conntrack's): the
// older one, with init+delta, confirms what was not received yet where a text became shorter.
func (a seqAdjust) ack(s uint32) uint32 {
	if after(s-uint32(a.before()), a.init) {
		return s - uint32(a.delta)
	}
	return s - uint32(a.before())
}

// resized is the adjustment after the segment that begins at s has changed its length by n. A segment that comes again
// changes nothing.
func (a seqAdjust) resized(s uint32, n int, first bool) seqAdjust {
	if !first && !after(s, a.init) {
		return a
	}
	return seqAdjust{init: s, delta: a.delta + int32(n), change: int8(n)}
}

// after tells whether sequence number x comes after y (RFC 9293 3.4).
func after(x, y uint32) bool { return int32(y-x) < 0 }

// resizeSeq records that the segment at s changed its length by n. Several workers may carry the connection.
func (w *Worker) resizeSeq(c *flow.Conn, s uint32, n int) {
	for {
		old := atomic.LoadUint64(&c.Seq)
		now := unpackSeq(old).resized(s, n, c.LoadFlags()&flow.FlagOutSeq == 0)
		if atomic.CompareAndSwapUint64(&c.Seq, old, now.pack()) {
			w.setFlags(c, flow.FlagOutSeq)
			return
		}
	}
}

// fixSeq moves the sequence number of a server's segment.
func (w *Worker) fixSeq(k *pkt, c *flow.Conn) {
	if c.LoadFlags()&flow.FlagOutSeq == 0 {
		return
	}
	f := k.buf[k.l4+4:]
	was := binary.BigEndian.Uint32(f)
	if now := unpackSeq(atomic.LoadUint64(&c.Seq)).seq(was); now != was {
		binary.BigEndian.PutUint32(f, now)
		k.setTCPChecksum()
	}
}

// fixAck moves the acknowledgement of a client's segment, and the edges of its SACK blocks (RFC 2018), back to what the
// server sent.
func (w *Worker) fixAck(k *pkt, c *flow.Conn) {
	if c.LoadFlags()&flow.FlagOutSeq == 0 {
		return
	}
	a := unpackSeq(atomic.LoadUint64(&c.Seq))
	back := func(f []byte) { binary.BigEndian.PutUint32(f, a.ack(binary.BigEndian.Uint32(f))) }
	if k.p.Flags&packet.ACK != 0 {
		back(k.buf[k.l4+8:])
	}
	sackEdges(k.buf[k.l4+20:max(k.l4+20, min(k.l4+int(k.buf[k.l4+12]>>4)*4, k.end))], back)
	k.setTCPChecksum()
}

// sackEdges calls f for every edge of the SACK blocks among the TCP options o.
func sackEdges(o []byte, f func([]byte)) {
	for len(o) >= 2 {
		switch {
		case o[0] == 0:
			return
		case o[0] == 1:
			o = o[1:]
			continue
		case o[1] < 2 || int(o[1]) > len(o):
			return
		}
		if o[0] == 5 {
			for e := 2; e+4 <= int(o[1]); e += 4 {
				f(o[e:])
			}
		}
		o = o[o[1]:]
	}
}

// setTCPChecksum computes the checksum of the segment afresh, under the addresses that the packet has now.
func (k *pkt) setTCPChecksum() {
	seg := k.buf[k.l4:k.end]
	seg[16], seg[17] = 0, 0
	binary.BigEndian.PutUint16(seg[16:], packet.PseudoHeader(k.key.Src, k.key.Dst, packet.ProtoTCP, len(seg)).AddBytes(seg).Checksum())
}

// setFlags sets bits of a connection's flags.
func (w *Worker) setFlags(c *flow.Conn, bits uint32) {
	for {
		old := c.LoadFlags()
		if old&bits == bits || c.CASFlags(old, old|bits) {
			return
		}
	}
}
