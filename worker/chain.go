package worker

import (
	"encoding/binary"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

// A packet longer than a frame comes as a chain of frames (ring.Continued). One of an established TCP or UDP connection is
// rewritten in its first frame, which holds the headers, and goes on with the others as they are: nothing is copied. All
// else that can happen to a chain is rare, and happens to a copy of it in one piece: the worker's scratch buffer.

const (
	// scratchSize holds the longest IP packet at any offset in a frame, and what the FTP helper may add to it.
	scratchSize = ring.FrameSize + 1<<16 + 256
	// headerBytes is how far into a chain its headers are looked for; leastHead how much of the IP packet the first frame
	// must hold for the packet to stay a chain: an ICMP error about it quotes no more.
	headerBytes = 512
	leastHead   = 1280
)

// chains is what a worker needs where its ports carry packets of several frames.
type chains struct {
	scratch  []byte                      // the one packet that has been put into one piece; nil: no port carries chains
	segments []int                       // by port: frames of the longest packet that it sends
	laid     [ring.MaxSegments]ring.Desc // frames of a packet that is being put together
	nLaid    int
	header   [ring.MaxPacket]byte // of the fragment that is being put together
}

func (c *chains) init(segments []int, ports int) {
	c.segments = make([]int, ports)
	for i := range c.segments {
		c.segments[i] = 1
		if i < len(segments) {
			c.segments[i] = min(max(segments[i], 1), ring.MaxSegments)
		}
		if c.segments[i] > 1 && c.scratch == nil {
			c.scratch = make([]byte, scratchSize)
		}
	}
}

// chained tells whether a batch has packets of several frames.
//
//fastlb:hot
func (w *Worker) chained(d []ring.Desc) bool { return w.chains.scratch != nil && ring.Chained(d) }

// receiveChains is receive for a batch with packets of several frames, in the order of arrival: what lies between them is
// taken in batches. It returns the number of packets.
func (w *Worker) receiveChains(port int, d []ring.Desc) int {
	n := 0
	for len(d) > 0 {
		single := 0
		for single < len(d) && d[single].Options&ring.Continued == 0 {
			single++
		}
		if single > 0 {
			w.receive(port, d[:single])
			d, n = d[single:], n+single
			continue
		}
		last := 0
		for last < len(d)-1 && d[last].Options&ring.Continued != 0 {
			last++
		}
		w.chain(port, d[:last+1])
		d, n = d[last+1:], n+1
	}
	return n
}

// chain takes one packet of several frames.
func (w *Worker) chain(port int, d []ring.Desc) {
	total := 0
	for i := range d {
		total += int(d[i].Len)
	}
	w.stats.Received(port, 1, uint64(total))
	at := int(d[0].Addr - frameBase(d[0].Addr))
	if at+total > len(w.chains.scratch)-256 {
		w.stats.Drop(perf.Oversize, 1)
		w.putFrames(d)
		return
	}
	var k pkt
	if !w.loadChain(&k, port, d, total) {
		w.join(&k, d)
		w.joined(&k, port, at, total)
		return
	}
	w.transport(&k)
}

// loadChain makes k a packet whose headers lie in the first frame of d. False: it is no TCP, UDP or SCTP packet, or its
// headers are not all there.
func (w *Worker) loadChain(k *pkt, port int, d []ring.Desc, total int) bool {
	head := w.mem[d[0].Addr:][:d[0].Len]
	// The parser wants the whole packet's length, and of its bytes only the headers.
	n := copy(w.chains.scratch, head[:min(len(head), headerBytes)])
	var key packet.Tuple
	var p packet.Parsed
	packet.Parse(w.chains.scratch[:total], &key, &p)
	if p.Kind != packet.Transport || int(p.L4)+60 > n || len(head)-int(p.L3) < leastHead {
		return false
	}
	w.load(k, port, d[0], &p)
	k.key = key
	extra := int(p.Len) - (len(head) - int(p.L3)) // what lies in the other frames; behind it there may be padding
	if extra <= 0 {
		w.putFrames(d[1:])
		return true
	}
	k.end = k.l3 + int(p.Len) - extra
	k.rest, k.restLen = d[1:], extra
	for i := range k.rest {
		if int(k.rest[i].Len) >= extra {
			k.rest[i].Len, k.rest[i].Options = uint32(extra), 0
			w.putFrames(k.rest[i+1:])
			k.rest = k.rest[:i+1]
			break
		}
		extra -= int(k.rest[i].Len)
	}
	return true
}

func (w *Worker) putFrames(d []ring.Desc) {
	for i := range d {
		w.frames.Put(d[i].Addr)
	}
}

// join copies the frames of d into the scratch buffer, where their first byte keeps its place in a frame, and frees them.
func (w *Worker) join(k *pkt, d []ring.Desc) {
	at := int(d[0].Addr - frameBase(d[0].Addr))
	for i := range d {
		at += copy(w.chains.scratch[at:], w.mem[d[i].Addr:][:d[i].Len])
	}
	w.putFrames(d)
	*k = pkt{buf: w.chains.scratch, frame: noFrame, frames: 1}
}

// joined takes a packet that lies in the scratch buffer in one piece, from its Ethernet header on.
func (w *Worker) joined(k *pkt, port, at, total int) {
	packet.Parse(k.buf[at:at+total], &k.key, &k.p)
	switch k.p.Kind {
	case packet.NotIP:
		w.stats.Passed(perf.PassNotIP, 1)
		return
	case packet.Runt:
		w.stats.Drop(perf.Runt, 1)
		return
	case packet.BadIP:
		w.stats.Drop(perf.BadIPHeader, 1)
		return
	}
	k.port, k.iface = port, w.snap.ifaceOf(port, &k.p)
	k.l3, k.l4 = at+int(k.p.L3), at+int(k.p.L4)
	k.end = k.l3 + int(k.p.Len)
	if !w.snap.Services.Serves(k.key.Family) {
		w.toKernel(k, perf.PassNothingSetUp)
		return
	}
	if k.p.Kind == packet.Fragment {
		w.collect(k)
	} else {
		w.whole(k)
	}
}

// inOnePiece sees to it that all of k lies in its buffer. Offsets stay as they are.
func (w *Worker) inOnePiece(k *pkt) {
	if k.rest == nil {
		return
	}
	s := w.chains.scratch
	copy(s[k.l3:], k.buf[k.l3:k.end])
	for i := range k.rest {
		d := &k.rest[i]
		k.end += copy(s[k.end:], w.mem[d.Addr:][:d.Len])
	}
	w.putFrames(k.rest)
	w.frames.Put(k.frame)
	k.buf, k.frame, k.rest, k.restLen = s, noFrame, nil, 0
}

// staysChained tells whether a packet of several frames can go its way as such: it belongs to a connection, and nobody
// wants to read more of it than the headers.
func (w *Worker) staysChained(k *pkt, ref flow.Ref) bool {
	if ref == 0 {
		return false
	}
	c := w.flows.Conn(ref)
	flags := c.LoadFlags()
	if flags&(flow.FlagHashed|flow.FlagHelper|flow.FlagNoCPort) != flow.FlagHashed {
		return false
	}
	method := service.Method(flags & flow.FlagMethodMask)
	switch k.key.Proto {
	case packet.ProtoTCP:
	case packet.ProtoUDP: // NAT gives a datagram without a checksum one
		if method == service.NAT && k.buf[k.l4+6]|k.buf[k.l4+7] == 0 {
			return false
		}
	default:
		return false
	}
	return method != service.Tunnel || w.snap.target(c.Server).tunSum == service.NoChecksum
}

// queueChain puts a packet of several frames on a port's outbox; d[0] begins with the link header.
func (w *Worker) queueChain(port int16, first ring.Desc, rest []ring.Desc) {
	o := &w.out[port]
	if o.n+1+len(rest) > len(o.d) {
		w.flush(int(port))
	}
	first.Options = ring.Continued
	o.d[o.n] = first
	o.n++
	o.n += copy(o.d[o.n:], rest)
	o.d[o.n-1].Options = 0
}

// emitChain sends the packet of k, whose headers are finished, if it lies in several frames and the port can send so many.
func (w *Worker) emitChain(k *pkt, e *egress) bool {
	if k.rest == nil || 1+len(k.rest) > w.chains.segments[e.port] {
		return false
	}
	start := e.put(k.buf, k.l3, k.v6())
	w.queueChain(e.port, ring.Desc{Addr: k.frame + uint64(start), Len: uint32(k.end - start)}, k.rest)
	return true
}

// lay copies an IP packet, its header and the rest, into frames for next hop e, and returns the part in the first frame, where the
// header may still be changed; nil: there are no frames, or the port cannot send a packet so long, and it was counted.
// sendLaid sends it.
func (w *Worker) lay(e *egress, head, body []byte) []byte {
	c := &w.chains
	n := ring.SegmentsFor(len(head) + len(body))
	if n > c.segments[e.port] {
		w.stats.Drop(perf.Oversize, 1)
		return nil
	}
	if w.frames.Len() < n {
		w.stats.Drop(perf.NoFrame, 1)
		return nil
	}
	c.nLaid = n
	for i := range n {
		f, _ := w.frames.Get()
		if i == 0 {
			f += ring.Headroom
		}
		b := w.mem[f : frameBase(f)+ring.FrameSize]
		put := copy(b, head)
		head = head[put:]
		more := copy(b[put:], body)
		body = body[more:]
		c.laid[i] = ring.Desc{Addr: f, Len: uint32(put + more), Options: ring.Continued}
	}
	c.laid[n-1].Options = 0
	return w.mem[c.laid[0].Addr:][:c.laid[0].Len]
}

// sendLaid sends the packet that lay has put together.
func (w *Worker) sendLaid(e *egress, v6 bool) {
	c := &w.chains
	base := frameBase(c.laid[0].Addr)
	start := e.put(w.mem[base:][:ring.FrameSize], ring.Headroom, v6)
	first := ring.Desc{Addr: base + uint64(start), Len: uint32(ring.Headroom-start) + c.laid[0].Len}
	if c.nLaid == 1 {
		w.queue(e.port, first.Addr, first.Len)
		return
	}
	w.queueChain(e.port, first, c.laid[1:c.nLaid])
}

// lengthen brings the headers that a tunnel put before a packet of several frames, at buf[l3:], in line with the bytes in
// the other frames. There is no checksum over them (staysChained).
func lengthen(ip []byte, more int, gue bool) {
	udp := 40
	if ip[0]>>4 == 4 {
		udp = 20
		binary.BigEndian.PutUint16(ip[2:], binary.BigEndian.Uint16(ip[2:])+uint16(more))
		packet.SetHeaderChecksum(ip[:20])
	} else {
		binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(more))
	}
	if gue {
		binary.BigEndian.PutUint16(ip[udp+4:], binary.BigEndian.Uint16(ip[udp+4:])+uint16(more))
	}
}

// packets is the number of packets that the descriptors are.
func packets(d []ring.Desc) int {
	n := len(d)
	for i := range d {
		n -= int(d[i].Options & ring.Continued)
	}
	return n
}
