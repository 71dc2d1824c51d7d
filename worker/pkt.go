package worker

import (
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
)

// noFrame is pkt.frame of a packet that lies in a side buffer.
const noFrame = ^uint64(0)

// pkt is a packet off the hot path: where it lies and what was parsed. The frame's owner is whoever holds the pkt.
type pkt struct {
	buf     []byte      // the whole frame, or a side buffer with headroom
	l3      int         // offset in buf of the IP header
	l4      int         // offset in buf of the transport or ICMP header
	end     int         // offset in buf of the packet's end
	frame   uint64      // address of the frame; noFrame: a side buffer
	rest    []ring.Desc // further frames of the packet, good for the round (chain.go); nil: all of it is in buf
	restLen int         // bytes in these
	port    int         // arrived here
	iface   int         // logical interface of arrival, -1 unknown
	key     packet.Tuple
	p       packet.Parsed
	mtu     int       // of the path, where that is narrower than the link; 0: it is not
	frames  int       // received frames that this packet stands for: 1, or the number of its fragments
	whole   *datagram // the reassembly it came from; nil for a packet that came whole
	fragID  uint32    // IPv6: identification of the fragments it came in
	forced  bool      // a forwarded ICMP error: DF does not count, and no error is sent about it
}

// ip is the IP packet; of one in several frames, what is in the first.
func (k *pkt) ip() []byte { return k.buf[k.l3:k.end] }
func (k *pkt) v6() bool   { return k.buf[k.l3]>>4 == 6 }
func (k *pkt) len() int   { return k.end - k.l3 + k.restLen }

// load makes k the packet in frame d as parsed in p.
func (w *Worker) load(k *pkt, port int, d ring.Desc, p *packet.Parsed) {
	base := frameBase(d.Addr)
	*k = pkt{buf: w.mem[base:][:ring.FrameSize], frame: base, port: port, p: *p, frames: 1}
	o := int(d.Addr - base)
	k.l3, k.l4 = o+int(p.L3), o+int(p.L4)
	k.end = k.l3 + int(p.Len)
	k.iface = w.snap.ifaceOf(port, p)
}

// reparse reads the packet's headers again after its bytes were put together or taken apart.
func (k *pkt) reparse() {
	packet.ParseIP(k.buf[:k.end], k.l3, &k.key, &k.p)
	k.l4 = int(k.p.L4)
	if k.p.Kind == packet.Transport || k.p.Kind == packet.ICMP || k.p.Kind == packet.OtherProto {
		k.end = k.l3 + int(k.p.Len)
	}
}

// release gives the frame or side buffer back without counting anything.
func (w *Worker) release(k *pkt) {
	if k.frame != noFrame {
		w.frames.Put(k.frame)
		w.putFrames(k.rest)
		k.frame, k.rest = noFrame, nil
	}
	if k.whole != nil {
		w.reasm.free(k.whole)
		k.whole = nil
	}
}

// dispose drops the packet, counting every received frame it stands for.
func (w *Worker) dispose(k *pkt, r perf.Reason) {
	w.stats.Drop(r, uint64(k.frames))
	w.release(k)
}

// toKernel hands the packet to the kernel's stack.
func (w *Worker) toKernel(k *pkt, r perf.Reason) {
	w.inOnePiece(k)
	if w.pass != nil && w.pass.Pass(k.iface, k.ip(), k.frames) {
		w.stats.Passed(r, uint64(k.frames))
	} else {
		w.stats.Drop(perf.PassQueueFull, uint64(k.frames))
	}
	w.release(k)
}

// refragment is the largest piece that a reassembled packet came in, 0 for others. In a tunnel of the other family the
// kernel has forgotten it (recorded: internal/twin/testdata/fragments.jsonl).
func (k *pkt) refragment() int {
	if k.whole == nil || k.whole.otherOuter {
		return 0
	}
	return k.whole.maxPacket
}

// keepsCuts tells whether a reassembled packet can leave in the pieces it came in, the first one longer by what a tunnel put
// before it, when room bytes of payload fit into one. The kernel keeps all of them or none.
func (k *pkt) keepsCuts(room int) bool {
	if k.whole == nil {
		return false
	}
	for off := 0; off < k.whole.total; {
		g := k.whole.cutAt(off)
		n := g
		if off == 0 {
			n += k.whole.inside
		}
		off += g
		if g == 0 || n > room || n&7 != 0 && off < k.whole.total {
			return false
		}
	}
	return true
}

// nextCut is the length of the piece that begins at offset off of the packet's payload, for a packet that keepsCuts.
func (k *pkt) nextCut(off int) int {
	if off == 0 {
		return k.whole.cutAt(0) + k.whole.inside
	}
	return k.whole.cutAt(off - k.whole.inside)
}

// unfragmentable is the length of a packet's part that goes into every fragment: IPv4 the header.
func (k *pkt) unfragmentable(ip []byte) int {
	if ip[0]>>4 == 4 {
		return int(ip[0]&15) * 4
	}
	proto, off := ip[6], 40
	n := off
	for off+8 <= len(ip) {
		switch proto {
		case 0, 43:
			proto, off = ip[off], off+8+int(ip[off+1])*8
			n = off
		case 60: // destination options: before a routing header only
			next, end := ip[off], off+8+int(ip[off+1])*8
			if next != 43 {
				return n
			}
			proto, off = next, end
		default:
			return min(n, len(ip))
		}
	}
	return min(n, len(ip))
}
