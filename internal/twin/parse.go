package twin

import (
	"encoding/binary"
	"net/netip"

	"github.com/fastlb/fastlb/perf"
)

var be = binary.BigEndian

const (
	protoICMP  = 1
	protoIPIP  = 4
	protoTCP   = 6
	protoUDP   = 17
	protoIPv6  = 41
	protoICMP6 = 58

	flagFIN, flagSYN, flagRST, flagACK = 1, 2, 4, 16
)

// ip is an IP packet, decoded. raw is the packet alone: no link header, no padding.
type ip struct {
	raw      []byte
	v6       bool
	src, dst netip.Addr
	proto    int
	ttl, tos int
	df       bool
	head     int // length of all that comes before the transport header

	fragment bool // one fragment of several
	more     bool
	offset   int    // of the fragment's data in the datagram's
	id       uint32 // identification
	fragHead int    // IPv6: offset of the fragment header
	prevNext int    // IPv6: offset of the next-header byte that announces the fragment header

	sizes   []int // of a reassembled datagram: the data sizes of its fragments, in order of offset
	largest int   // of a reassembled datagram: the length of its largest fragment's packet
}

func (p *ip) ports() (src, dst uint16, ok bool) {
	if len(p.raw) < p.head+4 {
		return 0, 0, false
	}
	return be.Uint16(p.raw[p.head:]), be.Uint16(p.raw[p.head+2:]), true
}

// clone returns a packet whose bytes may be changed.
func (p *ip) clone() *ip {
	c := *p
	c.raw = append([]byte(nil), p.raw...)
	return &c
}

// decode reads the header of what follows an Ethernet header.
func decode(b []byte) (*ip, perf.Reason) {
	if len(b) < 1 {
		return nil, perf.Runt
	}
	switch b[0] >> 4 {
	case 4:
		return decode4(b)
	case 6:
		return decode6(b)
	}
	return nil, perf.BadIPHeader
}

func decode4(b []byte) (*ip, perf.Reason) {
	if len(b) < 20 {
		return nil, perf.Runt
	}
	hl, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
	if b[0]>>4 != 4 || hl < 20 || total < hl {
		return nil, perf.BadIPHeader
	}
	if len(b) < total {
		return nil, perf.Runt
	}
	if sum(b[:hl]) != 0 {
		return nil, perf.BadIPHeader
	}
	p := &ip{raw: append([]byte(nil), b[:total]...), head: hl, proto: int(b[9]), ttl: int(b[8]), tos: int(b[1])}
	p.src, p.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	word := be.Uint16(b[6:])
	p.df, p.more, p.offset, p.id = word&0x4000 != 0, word&0x2000 != 0, int(word&0x1fff)*8, uint32(be.Uint16(b[4:]))
	p.fragment = p.more || p.offset > 0
	return p, perf.ReasonNone
}

func decode6(b []byte) (*ip, perf.Reason) {
	if len(b) < 40 {
		return nil, perf.Runt
	}
	if b[0]>>4 != 6 {
		return nil, perf.BadIPHeader
	}
	total := 40 + int(be.Uint16(b[4:]))
	if len(b) < total {
		return nil, perf.Runt
	}
	p := &ip{raw: append([]byte(nil), b[:total]...), v6: true, ttl: int(b[7]), tos: int(be.Uint16(b)>>4) & 0xff}
	p.src, p.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	next, at, nextAt := int(b[6]), 40, 6
	for {
		p.proto, p.head = next, at
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if total < at+8 {
				return p, perf.BadTransportHeader
			}
			n := 8 + int(p.raw[at+1])*8
			if total < at+n {
				return p, perf.BadTransportHeader
			}
			next, nextAt, at = int(p.raw[at]), at, at+n
			continue
		case 44:
			if total < at+8 {
				return p, perf.BadTransportHeader
			}
			word := be.Uint16(p.raw[at+2:])
			p.fragment, p.more, p.offset, p.id = true, word&1 != 0, int(word&^7), be.Uint32(p.raw[at+4:])
			p.fragHead, p.prevNext = at, nextAt
			p.head, p.proto = at+8, int(p.raw[at])
			return p, perf.ReasonNone // what follows is read after reassembly
		}
		return p, perf.ReasonNone
	}
}
