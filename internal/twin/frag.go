package twin

import (
	"net/netip"
	"sort"

	"github.com/fastlb/fastlb/perf"
)

// datagram gathers fragments.
type datagram struct {
	v6       bool
	src, dst netip.Addr
	id       uint32
	proto    int // IPv4 alone
	parts    []*ip
	end      int // length of the data, once the last fragment came; else -1
	deadline int64
}

func (p *ip) data() []byte { return p.raw[p.head:] }

// hold takes a fragment in; it returns the whole datagram when this was the missing one, else a verdict.
func (t *Twin) hold(p *ip) (*ip, Verdict, perf.Reason) {
	// What the datagram's length field would have to say. The kernel looks when all of it came; nothing is sent either way.
	end := p.offset + len(p.data()) + p.head
	if p.v6 {
		end = p.offset + len(p.data()) + p.fragHead - 40
	}
	if n := len(p.data()); n == 0 || p.more && n%8 != 0 || end > 65535 {
		return nil, Drop, perf.BadIPHeader
	}
	if p.v6 && !p.more && p.offset == 0 { // the whole datagram, whatever waits (RFC 6946): it goes on without the fragment header
		alone := datagram{v6: true, id: p.id, parts: []*ip{p}}
		w, v, why := alone.whole()
		if w != nil {
			w.sizes = nil
		}
		return w, v, why
	}
	var d *datagram
	for _, h := range t.held {
		if h.v6 == p.v6 && h.src == p.src && h.dst == p.dst && h.id == p.id && (p.v6 || h.proto == p.proto) {
			d = h
		}
	}
	if d == nil {
		d = &datagram{v6: p.v6, src: p.src, dst: p.dst, id: p.id, proto: p.proto, end: -1, deadline: t.now + 30*second}
		if p.v6 {
			d.deadline = t.now + 60*second
		}
		t.held = append(t.held, d)
	}
	from, to := p.offset, p.offset+len(p.data())
	broken := d.end >= 0 && (to > d.end || !p.more && d.end != to)
	for _, q := range d.parts {
		qf, qt := q.offset, q.offset+len(q.data())
		switch {
		case !p.more && qt > to:
			broken = true
		case qf <= from && to <= qt && !broken:
			return nil, Drop, perf.FragmentOverlap // a duplicate: ignored
		case from < qt && qf < to:
			broken = true
		}
	}
	if broken {
		t.forget(d)
		return nil, Drop, perf.FragmentOverlap
	}
	if !p.more {
		d.end = to
	}
	d.parts = append(d.parts, p)
	sort.Slice(d.parts, func(i, j int) bool { return d.parts[i].offset < d.parts[j].offset })
	at := 0
	for _, q := range d.parts {
		if q.offset != at {
			return nil, Hold, perf.ReasonNone
		}
		at += len(q.data())
	}
	if at != d.end {
		return nil, Hold, perf.ReasonNone
	}
	t.forget(d)
	return d.whole()
}

func (t *Twin) forget(d *datagram) {
	for i := range t.held {
		if t.held[i] == d {
			t.held = append(t.held[:i:i], t.held[i+1:]...)
			return
		}
	}
}

// whole puts the datagram together: the first fragment's header, all data.
func (d *datagram) whole() (*ip, Verdict, perf.Reason) {
	first := d.parts[0]
	head := append([]byte(nil), first.raw[:first.head]...)
	if d.v6 { // without the fragment header
		head[first.prevNext] = first.raw[first.fragHead]
		head = append(head[:first.fragHead], head[first.head:]...)
	}
	raw, largest, largestDF := head, 0, 0
	var sizes []int
	for _, q := range d.parts {
		raw = append(raw, q.data()...)
		sizes = append(sizes, len(q.data()))
		largest = max(largest, len(q.raw))
		if q.df {
			largestDF = max(largestDF, len(q.raw))
		}
	}
	if d.v6 {
		be.PutUint16(raw[4:], uint16(len(raw)-40))
	} else {
		be.PutUint16(raw[2:], uint16(len(raw)))
		be.PutUint16(raw[6:], 0)
		if largestDF == largest { // the whole has DF if the largest piece had it (recorded: testdata/fragments.jsonl, df-tun)
			raw[6] = 0x40
		}
		headerSum(raw)
	}
	p, why := decode(raw)
	if why != perf.ReasonNone {
		return nil, Drop, why
	}
	p.sizes, p.largest, p.id = sizes, largest, d.id
	return p, Forward, perf.ReasonNone
}

// cut divides a packet into fragments: of the given data sizes, or as large as the MTU allows when sizes is nil.
func cut(p *ip, mtu int, sizes []int, id uint32) (l [][]byte) {
	head := p.head
	if p.v6 {
		head = perFragment(p.raw)
	}
	data := p.raw[head:]
	if sizes == nil {
		room := mtu - head
		if p.v6 {
			room -= 8
		}
		for left := len(data); left > 0; left -= sizes[len(sizes)-1] {
			if left <= room { // the last piece need not be a multiple of 8
				sizes = append(sizes, left)
			} else {
				sizes = append(sizes, room&^7)
			}
		}
	}
	at := 0
	for _, n := range sizes {
		more := at+n < len(data)
		f := append([]byte(nil), p.raw[:head]...)
		if p.v6 {
			next := nextAt(p.raw, head)
			word := uint16(at)
			if more {
				word |= 1
			}
			h := make([]byte, 8)
			h[0] = f[next]
			f[next] = 44
			be.PutUint16(h[2:], word)
			be.PutUint32(h[4:], id)
			f = append(append(f, h...), data[at:at+n]...)
			be.PutUint16(f[4:], uint16(len(f)-40))
		} else {
			if at > 0 {
				dullOptions(f)
			}
			f = append(f, data[at:at+n]...)
			word := uint16(at / 8)
			if more {
				word |= 0x2000
			}
			be.PutUint16(f[2:], uint16(len(f)))
			be.PutUint16(f[6:], word)
			headerSum(f)
		}
		l = append(l, f)
		at += n
	}
	return l
}

// perFragment is the length of the IPv6 headers that each fragment repeats: up to the last hop-by-hop or routing header.
func perFragment(b []byte) int {
	end, next, at := 40, int(b[6]), 40
	for next == 0 || next == 43 || next == 60 {
		n := 8 + int(b[at+1])*8
		if next != 60 {
			end = at + n
		}
		next, at = int(b[at]), at+n
	}
	return end
}

// nextAt is the offset of the next-header byte of the header that ends at end.
func nextAt(b []byte, end int) int {
	where, at := 6, 40
	for at < end {
		where, at = at, at+8+int(b[at+1])*8
	}
	return where
}

// dullOptions makes no-operations of the options that only a first fragment carries (RFC 791: copied flag not set).
func dullOptions(b []byte) {
	for i := 20; i < len(b); {
		n := 1
		switch {
		case b[i] == 0:
			return
		case b[i] != 1:
			if i+1 >= len(b) || b[i+1] < 2 || i+int(b[i+1]) > len(b) {
				return
			}
			n = int(b[i+1])
			if b[i]&0x80 == 0 {
				for k := range n {
					b[i+k] = 1
				}
			}
		}
		i += n
	}
}
