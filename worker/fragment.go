package worker

import (
	"encoding/binary"
	"math/bits"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
)

// Reassembly is bounded: so many datagrams at once, each of at most 64 KiB, for as long as the kernel waits
// (net.ipv4.ipfrag_time, net.ipv6.ip6frag_time).
const (
	maxDatagrams = 64
	maxPayload   = 1<<16 - 1 // an IPv6 datagram's: its header does not count
	timeout4     = 30 * clock.Second
	timeout6     = 60 * clock.Second
	units        = 1 << 13 // 8-byte units of a datagram's payload
)

// fragKey identifies a datagram (RFC 791 3.2, RFC 8200 4.5; IPv6 leaves out the protocol).
type fragKey struct {
	src, dst packet.Addr
	id       uint32
	proto    uint8
	family   uint8
}

// datagram is one datagram in reassembly, or reassembled and on its way. buf holds headroom, the first fragment's headers,
// and the payload at payloadAt.
type datagram struct {
	key         fragKey
	buf         []byte
	used        bool
	begun       int64 // clock.Time
	deadline    int64 // clock.Time at which it is given up; 0: it is whole
	port, iface int
	headers     int // bytes of IP header (and unfragmentable part) of the first fragment; 0: not seen yet
	nextAt      int // IPv6: offset in the headers of the next-header field to fill in
	next        uint8
	total       int                // payload length; -1 until the last fragment came
	have        int                // payload bytes that came
	frames      int                // fragments taken
	maxPacket   int                // length of the longest fragment as an IP packet
	dfMax       int                // IPv4: the longest fragment that had DF set
	inside      int                // once encapsulated: bytes of headers between the outer IP header and the payload; else 0
	otherOuter  bool               // once encapsulated: the outer header is of the other family
	covered     [units / 64]uint64 // units that came
	starts      [units / 64]uint64 // units at which a fragment began
}

// payloadAt leaves room for the link header, a tunnel's headers and the IP headers before the payload.
const payloadAt = ring.Headroom + 512

// reassembler holds the datagrams of one worker. The buffers are made at the first use of a place and kept.
type reassembler struct {
	places []*datagram
}

func (r *reassembler) next() clock.Time {
	t := clock.Never
	for _, d := range r.places {
		if d.used && d.deadline > 0 {
			t = min(t, clock.Time(d.deadline))
		}
	}
	return t
}

func (r *reassembler) find(key *fragKey) *datagram {
	for _, d := range r.places {
		if d.used && d.deadline > 0 && d.key == *key {
			return d
		}
	}
	return nil
}

// begin takes a place for a new datagram. When there is none, the one that has waited longest is given up: most datagrams
// are whole within milliseconds, so those whose rest never comes do not keep the others out. lost is how many fragments of
// that one had come.
func (r *reassembler) begin(key *fragKey, now, timeout int64) (d *datagram, lost int) {
	for _, p := range r.places {
		if !p.used {
			d = p
			break
		}
		if p.deadline > 0 && (d == nil || p.begun < d.begun) {
			d = p
		}
	}
	if d == nil || d.used && len(r.places) < maxDatagrams {
		d = &datagram{buf: make([]byte, payloadAt+maxPayload+8)}
		r.places = append(r.places, d)
	}
	if d.used {
		lost = d.frames
	}
	*d = datagram{buf: d.buf, key: *key, used: true, begun: now, deadline: now + timeout, total: -1}
	return d, lost
}

func (r *reassembler) free(d *datagram) { d.used = false }

// cutAt is the length of the piece that began at payload offset off.
func (d *datagram) cutAt(off int) int {
	if off&7 != 0 || off>>3 >= units || d.starts[off>>9]&(1<<(off>>3&63)) == 0 {
		return 0
	}
	for u := off>>3 + 1; u < units; {
		if rest := d.starts[u>>6] >> (u & 63); rest != 0 {
			u += bits.TrailingZeros64(rest)
			return u<<3 - off
		}
		u = (u>>6 + 1) << 6
	}
	return d.total - off
}

// piece is one fragment, parsed.
type piece struct {
	key     fragKey
	off     int // of the payload
	more    bool
	headers []byte // IP header, IPv6 with the unfragmentable extension headers, without the fragment header
	nextAt  int
	next    uint8
	payload []byte
	length  int // of the fragment as an IP packet
	df      bool
}

// collect takes a fragment: of somebody else's business to the kernel, else to the worker that reassembles its datagram.
func (w *Worker) collect(k *pkt) {
	if s := w.snap.Services; !s.HasAddr(k.key.Dst) && !s.HasNAT(k.key.Src) && len(s.Marks) == 0 {
		w.toKernel(k, perf.PassNoService)
		return
	}
	var f piece
	if !f.parse(k.ip()) {
		w.dispose(k, perf.BadIPHeader)
		return
	}
	if f.off == 0 && !f.more {
		k.unwrap(&f)
		w.whole(k)
		return
	}
	if w.handover != nil {
		if owner := w.handover.owner(&f.key); owner != w.id {
			if w.handover.give(owner, k) {
				w.stats.HandedOver()
				w.release(k)
			} else {
				w.dispose(k, perf.HandoverFull)
			}
			return
		}
	}
	w.reassemble(k, &f)
}

// unwrap takes the fragment header off an IPv6 fragment that is the whole datagram (RFC 6946: it has nothing to do with
// other fragments of the same identification). The kernel does, and counts and forwards the packet without it.
func (k *pkt) unwrap(f *piece) {
	n := len(f.headers)
	copy(k.buf[k.l3+8:], k.buf[k.l3:k.l3+n])
	k.l3 += 8
	ip := k.ip()
	ip[f.nextAt] = f.next
	binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
	k.reparse()
}

// parse reads a fragment's headers.
func (f *piece) parse(ip []byte) bool {
	if ip[0]>>4 == 4 {
		hl := int(ip[0]&15) * 4
		v := binary.BigEndian.Uint16(ip[6:])
		f.key = fragKey{
			src: packet.AddrFrom4(ip[12:16]), dst: packet.AddrFrom4(ip[16:20]), id: uint32(binary.BigEndian.Uint16(ip[4:])),
			proto: ip[9], family: 4,
		}
		f.off, f.more, f.df = int(v&0x1fff)*8, v&0x2000 != 0, v&0x4000 != 0
		f.headers, f.payload, f.length = ip[:hl], ip[hl:], len(ip)
		return f.valid()
	}
	proto, at, off := ip[6], 6, 40
	for range 8 {
		if off+8 > len(ip) {
			return false
		}
		switch proto {
		case 0, 43, 60:
			proto, at, off = ip[off], off, off+8+int(ip[off+1])*8
			continue
		case 44:
			v := binary.BigEndian.Uint16(ip[off+2:])
			f.key = fragKey{
				src: packet.AddrFrom16(ip[8:24]), dst: packet.AddrFrom16(ip[24:40]), id: binary.BigEndian.Uint32(ip[off+4:]), family: 6,
			}
			f.off, f.more, f.next, f.nextAt = int(v&0xfff8), v&1 != 0, ip[off], at
			f.headers, f.payload, f.length = ip[:off], ip[off+8:], len(ip)
			return f.valid()
		}
		break
	}
	return false
}

// valid checks what RFC 791 and RFC 8200 demand of a fragment's length. The datagram must not become longer than its length
// field can say, which in IPv6 counts from behind the fixed header on.
func (f *piece) valid() bool {
	if len(f.payload) == 0 || f.more && len(f.payload)&7 != 0 {
		return false
	}
	n := f.off + len(f.payload) + len(f.headers)
	if f.key.family == 6 {
		n -= 40
	}
	return n <= maxPayload && len(f.headers) <= 512
}

// reassemble adds a fragment to its datagram, and takes the datagram on when it is whole.
func (w *Worker) reassemble(k *pkt, f *piece) {
	d := w.reasm.find(&f.key)
	if d == nil {
		timeout := timeout4
		if f.key.family == 6 {
			timeout = timeout6
		}
		var lost int
		d, lost = w.reasm.begin(&f.key, w.now, int64(timeout))
		w.stats.Drop(perf.FragmentLimit, uint64(lost))
		d.port, d.iface = k.port, k.iface
	}
	switch d.add(f) {
	case duplicate:
		w.dispose(k, perf.FragmentOverlap)
		return
	case contradiction:
		w.stats.Drop(perf.FragmentOverlap, uint64(d.frames))
		w.reasm.free(d)
		w.dispose(k, perf.FragmentOverlap)
		return
	}
	d.frames++
	w.release(k)
	if d.total < 0 || d.have < d.total || d.headers == 0 {
		return
	}
	n := d.assemble()
	w.whole(&n)
}

type addition uint8

const (
	added addition = iota
	duplicate
	contradiction
)

// add copies a fragment in. An exact repetition is ignored; an overlap or a contradiction condemns the datagram, as in the
// kernel (RFC 5722, and IPv4 likewise).
func (d *datagram) add(f *piece) addition {
	end := f.off + len(f.payload)
	if !f.more {
		if d.total >= 0 && d.total != end || d.beyond(end) {
			return contradiction
		}
	} else if d.total >= 0 && end > d.total {
		return contradiction
	}
	first, last := f.off>>3, (end-1)>>3
	clash := 0
	for u := first; u <= last; u++ {
		if d.covered[u>>6]&(1<<(u&63)) != 0 {
			clash++
		}
	}
	if clash > 0 {
		if clash == last-first+1 && d.starts[first>>6]&(1<<(first&63)) != 0 && (d.total < 0 || d.cutAt(f.off) == len(f.payload)) {
			return duplicate
		}
		return contradiction
	}
	for u := first; u <= last; u++ {
		d.covered[u>>6] |= 1 << (u & 63)
	}
	d.starts[first>>6] |= 1 << (first & 63)
	copy(d.buf[payloadAt+f.off:], f.payload)
	d.have += len(f.payload)
	d.maxPacket = max(d.maxPacket, f.length)
	if f.df {
		d.dfMax = max(d.dfMax, f.length)
	}
	if !f.more {
		d.total = end
	}
	if f.off == 0 {
		d.headers, d.nextAt, d.next = len(f.headers), f.nextAt, f.next
		copy(d.buf[payloadAt-len(f.headers):], f.headers)
	}
	return added
}

// beyond tells whether a unit at or after the given end has come.
func (d *datagram) beyond(end int) bool {
	for u := (end + 7) >> 3; u < units; u++ {
		if d.covered[u>>6] == 0 {
			u |= 63
			continue
		}
		if d.covered[u>>6]&(1<<(u&63)) != 0 {
			return true
		}
	}
	return false
}

// assemble makes the whole packet: the first fragment's headers with the fragmentation taken out. DF is set if the longest
// fragment had it (the kernel's rule).
func (d *datagram) assemble() pkt {
	l3, end := payloadAt-d.headers, payloadAt+d.total
	ip := d.buf[l3:end]
	if d.key.family == 4 {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		ip[6], ip[7] = 0, 0
		if d.dfMax == d.maxPacket {
			ip[6] = 0x40
		}
		packet.SetHeaderChecksum(ip)
	} else {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
		ip[d.nextAt] = d.next
	}
	d.deadline = 0 // out of the timer's and find's sight; freed with the packet
	n := pkt{buf: d.buf, l3: l3, end: end, frame: noFrame, port: d.port, iface: d.iface, frames: d.frames, whole: d, fragID: d.key.id}
	n.reparse()
	n.p.DF = n.p.DF && d.key.family == 6 || d.key.family == 4 && ip[6]&0x40 != 0
	return n
}

// runTimers gives up on datagrams and held packets whose time is over.
func (w *Worker) runTimers() {
	for _, d := range w.reasm.places {
		if d.used && d.deadline > 0 && d.deadline <= w.now {
			w.stats.Drop(perf.FragmentTimeout, uint64(d.frames))
			w.reasm.free(d)
		}
	}
	w.expireHolds()
}
