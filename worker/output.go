package worker

import (
	"encoding/binary"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
)

// frameBase is the first byte of the frame that addr lies in.
func frameBase(addr uint64) uint64 { return addr &^ (ring.FrameSize - 1) }

// queue puts a finished frame on a port's outbox.
//
//fastlb:hot
func (w *Worker) queue(port int16, addr uint64, n uint32) {
	o := &w.out[port]
	if o.n >= MaxBatch {
		w.flush(int(port))
	}
	o.d[o.n&(MaxBatch-1)] = ring.Desc{Addr: addr, Len: n}
	o.n++
}

// transmit sends every outbox, gives frames to the fill rings and wakes the kernel where it sleeps.
//
//fastlb:hot
func (w *Worker) transmit() {
	w.linkPending()
	for port := range w.out {
		if w.out[port].n > 0 {
			w.flush(port)
		}
	}
	for _, p := range w.ports {
		p.Refill(w.frames)
		p.Kick()
	}
}

// flush hands an outbox to its port. What the port has no room for, even after frames came back, is dropped and counted:
// overload is local.
func (w *Worker) flush(port int) {
	w.linkPending()
	o := &w.out[port]
	p := w.ports[port]
	var bytes uint64
	var tails uint32 // frames that only continue a packet
	for i := range o.d[:o.n] {
		bytes += uint64(o.d[i].Len)
		tails += o.d[i].Options & ring.Continued
	}
	sent := p.Transmit(o.d[:o.n])
	if sent < o.n {
		p.Kick()
		p.Complete(w.frames)
		sent += p.Transmit(o.d[sent:o.n])
	}
	for i := sent; i < o.n; i++ {
		bytes -= uint64(o.d[i].Len)
		tails -= o.d[i].Options & ring.Continued
		w.frames.Put(frameBase(o.d[i].Addr))
	}
	if sent < o.n {
		w.stats.Drop(perf.TXFull, uint64(packets(o.d[sent:o.n])))
	}
	w.stats.Sent(port, sent-int(tails), bytes)
	o.n = 0
}

// emit sends the IP packet of k to next hop e: in its own frame if it has one and fits the link, else cut into fragments in
// frames of their own. The MTU rules have been applied before: what is too big here may be fragmented, DF or not
// (spec/forwarding.md 1.6). It disposes of k's frame.
func (w *Worker) emit(k *pkt, e *egress) {
	if e.port < 0 {
		w.dispose(k, perf.NoPort)
		return
	}
	n := k.len()
	limit := int(e.mtu)
	if k.mtu > 0 {
		limit = min(limit, k.mtu)
	}
	if r := k.refragment(); r > 0 {
		if k.v6() && k.whole.inside > 0 {
			r = max(r, 1280) // no IPv6 link is narrower
		}
		limit = min(limit, r)
		w.fragment(k, e, limit)
		w.release(k)
		return
	}
	if n <= limit && w.emitChain(k, e) {
		return
	}
	w.inOnePiece(k)
	if n <= limit && k.frame != noFrame {
		start := e.put(k.buf, k.l3, k.v6())
		w.queue(e.port, k.frame+uint64(start), uint32(k.end-start))
		return
	}
	if n <= limit {
		w.emitCopy(k.buf[k.l3:k.end], e)
	} else {
		w.fragment(k, e, limit)
	}
	w.release(k)
}

// emitCopy sends an IP packet that lies outside of the frames.
func (w *Worker) emitCopy(ip []byte, e *egress) {
	if w.lay(e, nil, ip) != nil {
		w.sendLaid(e, ip[0]>>4 == 6)
	}
}

// fragment sends the IP packet of k in pieces of at most limit bytes. A packet that was reassembled keeps the cuts it came
// with if all of them fit (the kernel's ip_do_fragment does: recorded in frag/nat). What a tunnel's headers have made longer
// than an IP packet can be is dropped: nobody could put the pieces together, and their offsets would not fit.
func (w *Worker) fragment(k *pkt, e *egress, limit int) {
	ip := k.buf[k.l3:k.end]
	v4, longest := ip[0]>>4 == 4, maxPayload
	if !v4 {
		longest += 40
	}
	switch {
	case len(ip) > longest:
		w.stats.Drop(perf.Oversize, 1)
	case v4:
		w.fragment4(k, ip, e, limit)
	default:
		w.fragment6(k, ip, e, limit)
	}
}

func (w *Worker) fragment4(k *pkt, ip []byte, e *egress, limit int) {
	hl := int(ip[0]&15) * 4
	if limit-hl < 8 {
		w.stats.Drop(perf.TooBig, 1)
		return
	}
	flags := binary.BigEndian.Uint16(ip[6:])
	var hdr [60]byte
	copy(hdr[:hl], ip[:hl])
	keep := k.keepsCuts(limit - hl)
	for off := hl; off < len(ip); {
		n := cutLen(keep, k, off-hl, len(ip)-off, limit-hl)
		h := w.lay(e, hdr[:hl], ip[off:off+n])
		if h == nil {
			return
		}
		binary.BigEndian.PutUint16(h[2:], uint16(hl+n))
		v := uint16((off - hl) / 8)
		if k.whole != nil {
			v |= flags & 0x4000 // the DF that its fragments had, as in the kernel, which forgets it only in pieces that it need not copy
		}
		if off+n < len(ip) || flags&0x2000 != 0 {
			v |= 0x2000
		}
		binary.BigEndian.PutUint16(h[6:], v)
		packet.SetHeaderChecksum(h[:hl])
		w.sendLaid(e, false)
		if off == hl && hl > 20 {
			stripOptions(hdr[20:hl])
		}
		off += n
	}
}

// cutLen is the payload length of the fragment that begins at off, of which left bytes are still to go and room fit.
func cutLen(keep bool, k *pkt, off, left, room int) int {
	switch {
	case keep:
		return min(k.nextCut(off), left)
	case left <= room:
		return left
	}
	return room &^ 7
}

// stripOptions blanks what is not to be copied into later fragments (RFC 791: options without the copied bit).
func stripOptions(o []byte) {
	for i := 0; i < len(o); {
		switch o[i] {
		case 0:
			return
		case 1:
			i++
			continue
		}
		if i+1 >= len(o) || o[i+1] < 2 || i+int(o[i+1]) > len(o) {
			return
		}
		n := int(o[i+1])
		if o[i]&0x80 == 0 {
			for j := i; j < i+n; j++ {
				o[j] = 1
			}
		}
		i += n
	}
}

func (w *Worker) fragment6(k *pkt, ip []byte, e *egress, limit int) {
	hl := k.unfragmentable(ip)
	if limit-hl-8 < 8 {
		w.stats.Drop(perf.TooBig, 1)
		return
	}
	id := k.fragID
	if id == 0 {
		id = uint32(w.nextID())<<16 | uint32(w.nextID())
	}
	if hl+8 > len(w.chains.header) {
		w.stats.Drop(perf.Oversize, 1)
		return
	}
	hdr := w.chains.header[:hl+8]
	keep := k.keepsCuts(limit - hl - 8)
	for off := hl; off < len(ip); {
		n := cutLen(keep, k, off-hl, len(ip)-off, limit-hl-8)
		copy(hdr, ip[:hl])
		h := w.lay(e, hdr, ip[off:off+n])
		if h == nil {
			return
		}
		binary.BigEndian.PutUint16(h[4:], uint16(hl-40+8+n))
		last := lastNextHeader(h[:hl])
		h[hl], h[hl+1] = h[last], 0
		h[last] = 44
		v := uint16(off - hl)
		if off+n < len(ip) {
			v |= 1
		}
		binary.BigEndian.PutUint16(h[hl+2:], v)
		binary.BigEndian.PutUint32(h[hl+4:], id)
		w.sendLaid(e, true)
		off += n
	}
}

// lastNextHeader is the offset of the next-header field of the last of the headers in h (an IPv6 header and the
// extension headers that precede a fragment header).
func lastNextHeader(h []byte) int {
	at, off := 6, 40
	for off < len(h) {
		at, off = off, off+8+int(h[off+1])*8
	}
	return at
}

// nextID is an IPv4 identification for a packet that the director makes: a counter from a seed, so that replay is
// deterministic.
func (w *Worker) nextID() uint16 {
	w.ipID++
	return uint16(w.ipID)
}
