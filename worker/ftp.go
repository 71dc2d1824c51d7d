package worker

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// The FTP helper (spec/connections.md 15) reads the control connections of NAT services on port 21: it opens the table for
// the data connections that client and server agree on, and puts the virtual address into the server's answers. Only
// established connections are read, one segment at a time, as LVS does.

// Modes of a control connection, in Conn.Extra.
const (
	ftpNone   = 0
	ftpActive = 1
	ftpPASV   = 2
	ftpEPSV   = 3
)

// isFTP tells whether a new connection is for the helper.
func isFTP(proto uint8, method service.Method, vport uint16) bool {
	return proto == packet.ProtoTCP && method == service.NAT && vport == portFTP
}

// payload is the offset of a TCP segment's data, and false if the header is broken or the checksum wrong: a helper's packet
// is verified, others are not.
func (k *pkt) payload() (int, bool) {
	off := k.l4 + int(k.buf[k.l4+12]>>4)*4
	if off < k.l4+20 || off > k.end {
		return 0, false
	}
	seg := k.buf[k.l4:k.end]
	return off, packet.PseudoHeader(k.key.Src, k.key.Dst, packet.ProtoTCP, len(seg)).AddBytes(seg).Fold() == 0xffff
}

// helpIn reads a client's packet before it is rewritten. False: the packet was dropped.
func (w *Worker) helpIn(k *pkt, ref flow.Ref, c *flow.Conn) bool {
	if c.State() != flow.TCPEstablished {
		w.fixAck(k, c)
		return true
	}
	at, ok := k.payload()
	if !ok {
		w.dispose(k, perf.BadTransportChecksum)
		return false
	}
	data := k.buf[at:k.end]
	for i := 0; i+6 <= len(data); i++ {
		switch {
		case !k.v6() && foldEqual(data[i:i+6], "PASV\r\n"):
			atomic.StoreUint32(&c.Extra, ftpPASV)
			w.fixAck(k, c)
			return true
		case foldEqual(data[i:i+4], "EPSV"):
			rest := data[i+4:]
			if rest[0] == '\r' || rest[0] == ' ' && len(rest) > 2 && rest[2] == '\r' && rest[1] == netDigit(k.v6()) {
				atomic.StoreUint32(&c.Extra, ftpEPSV)
			}
			w.fixAck(k, c)
			return true
		}
	}
	var to packet.Addr
	var port uint16
	switch {
	case len(data) >= 4 && !k.v6() && foldEqual(data[:4], "PORT"):
		to, port, _, _, ok = sixNumbers(data, skipTo(data, 4, ' '))
	case len(data) >= 4 && foldEqual(data[:4], "EPRT"):
		to, port, _, _, ok = extended(data, skipRun(data, 4, ' '), k.v6(), packet.Addr{}, false)
	default:
		ok = false
	}
	if ok {
		atomic.StoreUint32(&c.Extra, ftpActive)
		w.expectActive(ref, c, to, port)
	}
	w.fixAck(k, c)
	return true
}

// helpOut reads and rewrites a server's packet before its source is translated. False: the packet was dropped.
func (w *Worker) helpOut(k *pkt, ref flow.Ref, c *flow.Conn) bool {
	if c.State() != flow.TCPEstablished {
		w.fixSeq(k, c)
		return true
	}
	at, ok := k.payload()
	if !ok {
		w.dispose(k, perf.BadTransportChecksum)
		return false
	}
	data := k.buf[at:k.end]
	var from packet.Addr
	var port uint16
	var start, end int
	switch atomic.LoadUint32(&c.Extra) {
	case ftpPASV:
		if ok = bytes.HasPrefix(data, []byte("227 ")); ok {
			from, port, start, end, ok = sixNumbers(data, skipTo(data, 4, '('))
		}
	case ftpEPSV:
		if ok = bytes.HasPrefix(data, []byte("229 ")); ok {
			i := bytes.IndexByte(data, '(')
			if ok = i >= 0; ok {
				from, port, start, end, ok = extended(data, skipRun(data, i, '('), k.v6(), c.Dest, true)
			}
		}
	default:
		ok = false
	}
	if ok && w.expectPassive(ref, c, from, port) {
		text := passiveText(atomic.LoadUint32(&c.Extra), c.Virtual, port)
		w.resize(k, c, at+start, at+end, text)
		atomic.StoreUint32(&c.Extra, ftpActive)
		return true
	}
	w.fixSeq(k, c)
	return true
}

func netDigit(v6 bool) byte {
	if v6 {
		return '2'
	}
	return '1'
}

// foldEqual compares without regard to ASCII case; want is upper case.
func foldEqual(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// skipTo goes on from i until a digit is met or a run of sep has been passed, whichever comes first.
func skipTo(b []byte, i int, sep byte) int {
	for i < len(b) && !digit(b[i]) {
		if b[i] == sep {
			return skipRun(b, i, sep)
		}
		i++
	}
	return i
}

// skipRun passes a run of sep; -1 if there is none.
func skipRun(b []byte, i int, sep byte) int {
	if i >= len(b) || b[i] != sep {
		return -1
	}
	for i < len(b) && b[i] == sep {
		i++
	}
	return i
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// number reads a decimal number of at most max, and what follows.
func number(b []byte, i int, most int) (v, next int, ok bool) {
	start := i
	for i < len(b) && digit(b[i]) {
		if v = v*10 + int(b[i]-'0'); v > most {
			return 0, i, false
		}
		i++
	}
	return v, i, i > start
}

// sixNumbers reads h1,h2,h3,h4,p1,p2 at i; something must follow it in the segment.
func sixNumbers(b []byte, i int) (a packet.Addr, port uint16, start, end int, ok bool) {
	if i < 0 {
		return
	}
	start = i
	var v [6]byte
	for n := range v {
		var x int
		if x, i, ok = number(b, i, 255); !ok {
			return
		}
		v[n] = byte(x)
		if n < 5 {
			if ok = i < len(b) && b[i] == ','; !ok {
				return
			}
			i++
		}
	}
	return packet.AddrFrom4(v[:4]), uint16(v[4])<<8 | uint16(v[5]), start, i, i < len(b)
}

// extended reads <d>net<d>addr<d>port<d> (RFC 2428) at i. short allows <d><d><d>port<d>, which stands for the address home.
func extended(b []byte, i int, v6 bool, home packet.Addr, short bool) (a packet.Addr, port uint16, start, end int, ok bool) {
	if i < 0 || i >= len(b) || b[i] < 33 || b[i] > 126 {
		return
	}
	start = i
	d := b[i]
	i++
	if short && i+1 < len(b) && b[i] == d && b[i+1] == d {
		a, i = home, i+2
	} else {
		if i+1 >= len(b) || b[i] != netDigit(v6) || b[i+1] != d {
			return
		}
		i += 2
		n := bytes.IndexByte(b[i:], d)
		if n < 0 {
			return
		}
		if a, ok = parseAddr(b[i:i+n], v6); !ok {
			return
		}
		i += n + 1
	}
	var p int
	if p, i, ok = number(b, i, 65535); !ok || p == 0 || i >= len(b) || b[i] != d {
		return a, 0, start, i, false
	}
	return a, uint16(p), start, i + 1, true
}

// expectActive makes the connection that the server will open to the client: from its port next below the control port, to
// be seen as coming from the virtual service's.
func (w *Worker) expectActive(ref flow.Ref, c *flow.Conn, to packet.Addr, port uint16) {
	key := packet.Tuple{Src: to, Dst: c.Virtual, SrcPort: port, DstPort: c.VPort - 1, Proto: c.Proto, Family: familyOf(c)}
	if found, _ := w.flows.Lookup(&key); found != 0 {
		w.rearm(found, w.flows.Conn(found), w.snap.Timeouts.TCP[flow.TCPListen])
		return
	}
	w.expect(ref, c, &flow.Conn{Client: to, CPort: port, VPort: c.VPort - 1, DPort: c.DPort - 1, Dest: c.Dest})
}

// expectPassive makes the connection that the client will open to the server's data port; its own port is not known yet.
func (w *Worker) expectPassive(ref flow.Ref, c *flow.Conn, from packet.Addr, port uint16) bool {
	key := packet.Tuple{Src: from, Dst: c.Client, SrcPort: port, Proto: c.Proto, Family: familyOf(c)}
	if found, dir := w.flows.Lookup(&key); found != 0 && dir == flow.Out {
		w.rearm(found, w.flows.Conn(found), w.snap.Timeouts.TCP[flow.TCPListen])
		return true
	}
	return w.expect(ref, c, &flow.Conn{Client: c.Client, VPort: port, DPort: port, Dest: from, Flags: flow.FlagNoCPort})
}

// expect publishes a data connection in LISTEN, controlled by c. The template gives what differs from c.
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
	if s := w.server(c); s != nil {
		s.Bind(false)
	}
	w.flows.Attach(data, ref)
	if _, won := w.flows.Insert(w.id, data); won {
		return true
	}
	w.flows.Detach(data)
	if s := w.server(c); s != nil {
		s.Unbind(false, false)
	}
	return true // another worker has just made it
}

// fillClientPort completes a data connection with the port that the client's first packet brought (spec/connections.md 2.2).
func (w *Worker) fillClientPort(k *pkt) (flow.Ref, bool) {
	key := k.key
	key.SrcPort = 0
	ref, dir := w.flows.Lookup(&key)
	if ref == 0 || dir != flow.In {
		return 0, false
	}
	port := k.key.SrcPort
	now, ok := w.flows.Rekey(w.id, ref, func(c *flow.Conn) {
		c.CPort = port
		c.Flags &^= flow.FlagNoCPort
	})
	return now, ok || now != 0
}

func familyOf(c *flow.Conn) uint8 {
	if c.LoadFlags()&flow.FlagIPv6 != 0 {
		return 6
	}
	return 4
}

// passiveText is what the client is told: the virtual address in place of the server's.
func passiveText(mode uint32, vip packet.Addr, port uint16) []byte {
	b := make([]byte, 0, 32)
	if mode == ftpEPSV {
		b = append(b, "|||"...)
		b = appendNumber(b, int(port))
		return append(b, '|')
	}
	v := vip.V4()
	for _, n := range [...]int{int(v >> 24), int(v >> 16 & 255), int(v >> 8 & 255), int(v & 255), int(port >> 8)} {
		b = append(appendNumber(b, n), ',')
	}
	return appendNumber(b, int(port&255))
}

func appendNumber(b []byte, n int) []byte {
	if n >= 10 {
		b = appendNumber(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// resize replaces buf[from:to] by text, and moves the sequence numbers that follow (spec/connections.md 15.3, the form that
// the sync protocol carries).
func (w *Worker) resize(k *pkt, c *flow.Conn, from, to int, text []byte) {
	delta := len(text) - (to - from)
	seq := binary.BigEndian.Uint32(k.buf[k.l4+4:])
	w.fixSeqField(k, c)
	if delta != 0 {
		if k.end+delta > len(k.buf) {
			return
		}
		copy(k.buf[to+delta:k.end+delta], k.buf[to:k.end])
		k.end += delta
		ip := k.ip()
		if k.v6() {
			binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
		} else {
			binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
			packet.SetHeaderChecksum(ip)
		}
		k.p.Len = uint32(len(ip))
		for {
			old := atomic.LoadUint64(&c.Seq)
			a := unpackSeq(old)
			if c.LoadFlags()&flow.FlagOutSeq != 0 && !after(seq, a.init) {
				break // a retransmission of what was resized before
			}
			if atomic.CompareAndSwapUint64(&c.Seq, old, seqAdjust{init: seq, delta: a.delta + int32(delta), change: int8(delta)}.pack()) {
				w.setFlags(c, flow.FlagOutSeq)
				break
			}
		}
	}
	copy(k.buf[from:], text)
	k.setTCPChecksum()
}

// seqAdjust is how a direction's sequence numbers moved: from the one after init on by delta, before that by delta less the
// last change.
type seqAdjust struct {
	init   uint32
	delta  int32 // 24 bits
	change int8
}

func (a seqAdjust) pack() uint64 {
	return uint64(a.init)<<32 | uint64(uint32(a.delta)&0xffffff)<<8 | uint64(uint8(a.change))
}

func unpackSeq(v uint64) seqAdjust {
	return seqAdjust{init: uint32(v >> 32), delta: int32(uint32(v)) >> 8, change: int8(v)}
}

// after tells whether sequence number x comes after y (RFC 9293 3.4).
func after(x, y uint32) bool { return int32(y-x) < 0 }

// fixSeq moves the sequence number of a server's packet.
func (w *Worker) fixSeq(k *pkt, c *flow.Conn) {
	if w.fixSeqField(k, c) {
		k.setTCPChecksum()
	}
}

func (w *Worker) fixSeqField(k *pkt, c *flow.Conn) bool {
	if c.LoadFlags()&flow.FlagOutSeq == 0 {
		return false
	}
	a := unpackSeq(atomic.LoadUint64(&c.Seq))
	f := k.buf[k.l4+4:]
	seq := binary.BigEndian.Uint32(f)
	move := a.delta - int32(a.change)
	if after(seq, a.init) {
		move = a.delta
	}
	binary.BigEndian.PutUint32(f, seq+uint32(move))
	return move != 0
}

// fixAck moves the acknowledgement of a client's packet, and the edges of its SACK blocks (RFC 2018), back to what the
// server sent.
func (w *Worker) fixAck(k *pkt, c *flow.Conn) {
	if c.LoadFlags()&flow.FlagOutSeq == 0 {
		return
	}
	a := unpackSeq(atomic.LoadUint64(&c.Seq))
	back := func(f []byte) {
		ack := binary.BigEndian.Uint32(f)
		move := a.delta - int32(a.change)
		if after(ack, a.init+uint32(a.delta)) {
			move = a.delta
		}
		binary.BigEndian.PutUint32(f, ack-uint32(move))
	}
	if k.p.Flags&packet.ACK != 0 {
		back(k.buf[k.l4+8:])
	}
	end := min(k.l4+int(k.buf[k.l4+12]>>4)*4, k.end)
	for i := k.l4 + 20; i+1 < end; {
		switch o := k.buf[i]; {
		case o == 0:
			i = end
			continue
		case o == 1:
			i++
			continue
		case k.buf[i+1] < 2 || i+int(k.buf[i+1]) > end:
			i = end
			continue
		case o == 5:
			for e := i + 2; e+4 <= i+int(k.buf[i+1]); e += 4 {
				back(k.buf[e:])
			}
		}
		i += int(k.buf[i+1])
	}
	k.setTCPChecksum()
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
