package worker

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// The FTP helper (spec/connections.md 15) reads the control connections of NAT services on port 21: it opens the table for
// the data connections that client and server agree on, and puts the virtual address into the server's answers. Only
// established connections are read, one segment at a time, as LVS does. What the words mean is in ftptext.go, how
// sequence numbers follow in ftpseq.go.

// ftpMode is what a control connection waits for.
type ftpMode uint32

const (
	ftpNone   ftpMode = 0
	ftpActive ftpMode = 1 // nothing: the last agreement has been seen
	ftpPASV   ftpMode = 2 // the server's answer to PASV
	ftpEPSV   ftpMode = 3 // the server's answer to EPSV
)

// What a control connection remembers, in Conn.Extra: the mode; the mode in which an answer was rewritten last; and the low
// 28 bits of that segment's sequence number, because it must be rewritten again if it comes again.
const (
	ftpModeBits = 2
	ftpModeMask = 1<<ftpModeBits - 1
	ftpSeqShift = 2 * ftpModeBits
	ftpSeqMask  = 1<<(32-ftpSeqShift) - 1
)

// isFTP tells whether a new connection is for the helper.
func isFTP(proto uint8, method service.Method, vport uint16) bool {
	return proto == packet.ProtoTCP && method == service.NAT && vport == portFTP
}

// helped looks whether a helper may touch the packet: its checksum must be right. False: it was dropped.
func (w *Worker) helped(k *pkt) bool {
	seg := k.buf[k.l4:k.end]
	if packet.PseudoHeader(k.key.Src, k.key.Dst, packet.ProtoTCP, len(seg)).AddBytes(seg).Fold() == 0xffff {
		return true
	}
	w.dispose(k, perf.BadTransportChecksum)
	return false
}

// payload is where a TCP segment's data begin in buf; at end if there are none, or the header's length is wrong.
func (k *pkt) payload() int {
	off := k.l4 + int(k.buf[k.l4+12]>>4)*4
	if off < k.l4+20 || off > k.end {
		return k.end
	}
	return off
}

// helpIn reads a client's packet before it is rewritten. False: the packet was dropped.
func (w *Worker) helpIn(k *pkt, ref flow.Ref, c *flow.Conn) bool {
	if !w.helped(k) {
		return false
	}
	if c.State() == flow.TCPEstablished {
		command, to := clientCommand(k.buf[k.payload():k.end], k.v6())
		switch command {
		case commandPASV:
			setFTPMode(c, ftpPASV)
		case commandEPSV:
			setFTPMode(c, ftpEPSV)
		case commandPORT:
			setFTPMode(c, ftpActive)
			if !w.expectActive(ref, c, to.addr, to.port) {
				w.dispose(k, perf.TableFull)
				return false
			}
		}
	}
	w.fixAck(k, c)
	return true
}

// helpOut reads and rewrites a server's packet before its source is translated. False: the packet was dropped.
func (w *Worker) helpOut(k *pkt, ref flow.Ref, c *flow.Conn) bool {
	if !w.helped(k) {
		return false
	}
	if c.State() == flow.TCPEstablished {
		word := atomic.LoadUint32(&c.Extra)
		mode, seq := ftpMode(word&ftpModeMask), binary.BigEndian.Uint32(k.buf[k.l4+4:])
		again := mode == ftpActive && word>>ftpSeqShift == seq&ftpSeqMask
		if again {
			mode = ftpMode(word >> ftpModeBits & ftpModeMask)
		}
		if mode == ftpPASV || mode == ftpEPSV {
			at := k.payload()
			if from, ok := passiveAnswer(k.buf[at:k.end], mode, k.v6(), c.Dest); ok {
				return w.rewritePassive(k, ref, c, mode, at, from, again)
			}
		}
	}
	w.fixSeq(k, c)
	return true
}

// rewritePassive puts the virtual address in place of the server's, which stands in the data that begin at at, and opens
// the table for the data connection, unless it is a segment that comes again.
func (w *Worker) rewritePassive(k *pkt, ref flow.Ref, c *flow.Conn, mode ftpMode, at int, from endpoint, again bool) bool {
	var room [32]byte
	text := passiveText(room[:0], mode, c.Virtual, from.port)
	delta := len(text) - (from.end - from.start)
	switch {
	case delta < -maxChange: // a number with a hundred leading zeros
		w.fixSeq(k, c)
		return true
	case k.end+delta > len(k.buf) || k.len()+delta > 0xffff:
		w.dispose(k, perf.Oversize)
		return false
	case !again && !w.expectPassive(ref, c, from.addr, from.port):
		w.dispose(k, perf.TableFull)
		return false
	}
	seq := binary.BigEndian.Uint32(k.buf[k.l4+4:])
	if delta != 0 {
		w.resizeSeq(c, seq, delta)
		k.resize(at+from.start, at+from.end, len(text))
	}
	copy(k.buf[at+from.start:], text)
	w.fixSeq(k, c)
	k.setTCPChecksum()
	atomic.StoreUint32(&c.Extra, uint32(ftpActive)|uint32(mode)<<ftpModeBits|seq<<ftpSeqShift)
	return true
}

// setFTPMode changes the mode and keeps what is known of the last rewriting.
func setFTPMode(c *flow.Conn, m ftpMode) {
	for {
		old := atomic.LoadUint32(&c.Extra)
		if atomic.CompareAndSwapUint32(&c.Extra, old, old&^ftpModeMask|uint32(m)) {
			return
		}
	}
}

// resize makes n bytes of buf[from:to] and brings the IP header in line. There is room.
func (k *pkt) resize(from, to, n int) {
	delta := n - (to - from)
	copy(k.buf[to+delta:k.end+delta], k.buf[to:k.end])
	k.end += delta
	if k.whole != nil {
		k.whole.total += delta
	}
	ip := k.ip()
	if k.v6() {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
	} else {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		packet.SetHeaderChecksum(ip)
	}
	k.p.Len = uint32(len(ip))
}

// expectActive makes the connection that the server will open to the client: from its port next below the control port, to
// be seen as coming from the virtual service's. False: the table is full.
func (w *Worker) expectActive(ref flow.Ref, c *flow.Conn, to packet.Addr, port uint16) bool {
	key := packet.Tuple{Src: to, Dst: c.Virtual, SrcPort: port, DstPort: c.VPort - 1, Proto: c.Proto, Family: familyOf(c)}
	if found, dir := w.flows.Lookup(&key); found != 0 && dir == flow.In {
		w.listen(found)
		return true
	}
	return w.expect(ref, c, &flow.Conn{Client: to, CPort: port, VPort: c.VPort - 1, DPort: c.DPort - 1, Dest: c.Dest})
}

// expectPassive makes the connection that the client will open to the server's data port; its own port is not known yet.
// False: the table is full.
func (w *Worker) expectPassive(ref flow.Ref, c *flow.Conn, from packet.Addr, port uint16) bool {
	key := packet.Tuple{Src: from, Dst: c.Client, SrcPort: port, Proto: c.Proto, Family: familyOf(c)}
	if found, dir := w.flows.Lookup(&key); found != 0 && dir == flow.Out {
		w.listen(found)
		return true
	}
	return w.expect(ref, c, &flow.Conn{Client: c.Client, VPort: port, DPort: port, Dest: from, Flags: flow.FlagNoCPort})
}

// expect publishes a data connection in LISTEN, controlled by c. The template gives what differs from c. Where two servers
// gave one client the same port, the first connection stays. False: the table is full.
func (w *Worker) expect(ref flow.Ref, c *flow.Conn, n *flow.Conn) bool {
	data := w.flows.Alloc(w.id)
	if data == 0 {
		w.stats.Refused()
		return false
	}
	d := w.flows.Conn(data)
	timeout := w.snap.Timeouts.TCP[flow.TCPListen]
	*d = flow.Conn{
		Client: n.Client, Virtual: c.Virtual, CPort: n.CPort, VPort: n.VPort, DPort: n.DPort, Proto: c.Proto, Server: c.Server, Dest: n.Dest,
		Service: c.Service, Mark: c.Mark, Deadline: w.now + timeout, Timeout: timeout, Created: w.now,
		Flags: n.Flags | flow.FlagInactive | c.LoadFlags()&(flow.FlagMethodMask|flow.FlagIPv6) | uint32(flow.TCPListen)<<flow.StateShift,
	}
	server := w.server(c)
	if server != nil {
		w.bind(server)
		if d.Dest != server.Addr {
			d.Flags |= flow.FlagElsewhere
		}
	}
	w.flows.Attach(data, ref)
	winner, won := w.flows.Insert(w.id, data)
	if won {
		return true
	}
	w.flows.Detach(data) // the record is still ours to read until this round's end
	if server != nil {
		w.unbind(server, false, false)
	}
	if winner == 0 {
		w.stats.Refused()
		return false
	}
	return true
}

// listen puts a data connection into LISTEN: it is expected, again perhaps. Its server's counts follow with the first
// packet.
func (w *Worker) listen(ref flow.Ref) {
	c := w.flows.Conn(ref)
	for {
		old := c.LoadFlags()
		if old&flow.FlagHashed == 0 {
			return
		}
		if c.CASFlags(old, old&(1<<flow.StateShift-1)|uint32(flow.TCPListen)<<flow.StateShift) {
			break
		}
	}
	w.rearm(ref, c, w.snap.Timeouts.TCP[flow.TCPListen])
}

// fillClientPort completes a data connection with the port that the client's first packet brought (spec/connections.md 2.2).
func (w *Worker) fillClientPort(k *pkt) (flow.Ref, bool) {
	key := k.key
	key.SrcPort = 0
	ref, dir := w.flows.Lookup(&key)
	if ref == 0 || dir != flow.In || w.flows.Conn(ref).LoadFlags()&flow.FlagNoCPort == 0 {
		return 0, false
	}
	now, _ := w.flows.Rekey(w.id, ref, func(c *flow.Conn) {
		c.CPort = k.key.SrcPort
		c.Flags &^= flow.FlagNoCPort
	})
	if now == 0 { // another worker is at it, or the connection is going
		now, dir = w.flows.Lookup(&k.key)
	}
	return now, now != 0 && dir == flow.In
}

func familyOf(c *flow.Conn) uint8 {
	if c.LoadFlags()&flow.FlagIPv6 != 0 {
		return 6
	}
	return 4
}
