package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/fastlb/fastlb/internal/clock"
)

// Block types and options of pcapng that matter here; other blocks are passed over.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6

	byteOrderMagic = 0x1a2b3c4d

	optEnd      = 0
	optName     = 2  // if_name
	optTSResol  = 9  // if_tsresol
	optTSOffset = 14 // if_tsoffset
)

// iface is an interface description of the current section.
type iface struct {
	name    string
	link    uint16
	snap    uint32
	perSec  uint64 // timestamp units a second
	seconds int64  // added to every timestamp
}

// firstSection reads the section header that every pcapng file begins with.
func (c *Reader) firstSection() error {
	head, err := c.read(8, 0, "the section header")
	if err != nil {
		return err
	}
	return c.section(0, append([]byte(nil), head...))
}

// section reads the rest of a section header; head is its first 8 bytes: type and length.
func (c *Reader) section(start int64, head []byte) error {
	b, err := c.read(4, start, "a section header")
	if err != nil {
		return err
	}
	switch {
	case binary.LittleEndian.Uint32(b) == byteOrderMagic:
		c.order = binary.LittleEndian
	case binary.BigEndian.Uint32(b) == byteOrderMagic:
		c.order = binary.BigEndian
	default:
		return &FormatError{start, fmt.Sprintf("a section header's byte order mark is %x", b)}
	}
	c.ifaces = nil
	body, err := c.body(start, c.order.Uint32(head[4:]), 12)
	if err != nil {
		return err
	}
	if len(body) < 12 {
		return &FormatError{start, "a section header is shorter than 28 bytes"}
	}
	if major := c.order.Uint16(body); major != 1 {
		return &FormatError{start, fmt.Sprintf("pcapng version %d.%d; 1.0 is read", major, c.order.Uint16(body[2:]))}
	}
	return nil
}

// body reads what is left of a block of the given total length, done bytes of which were read, and returns it without
// the length that is repeated at its end.
func (c *Reader) body(start int64, total uint32, done int) ([]byte, error) {
	if total%4 != 0 || total < uint32(done)+4 || total > maxBlock {
		return nil, &FormatError{start, fmt.Sprintf("a block of %d bytes: the file is damaged", total)}
	}
	b, err := c.read(int(total)-done, start, "the rest of a block")
	if err != nil {
		return nil, err
	}
	if end := c.order.Uint32(b[len(b)-4:]); end != total {
		return nil, &FormatError{start, fmt.Sprintf("a block of %d bytes says %d at its end: the file is damaged", total, end)}
	}
	return b[:len(b)-4], nil
}

// nextBlock reads blocks until one is a packet.
func (c *Reader) nextBlock(p *Packet) error {
	for {
		if end, err := c.atEnd(); err != nil {
			return err
		} else if end {
			return io.EOF
		}
		start := c.offset
		b, err := c.read(8, start, "a block header")
		if err != nil {
			return err
		}
		if binary.BigEndian.Uint32(b) == blockSection {
			if err := c.section(start, append([]byte(nil), b...)); err != nil {
				return err
			}
			continue
		}
		kind := c.order.Uint32(b)
		b, err = c.body(start, c.order.Uint32(b[4:]), 8)
		if err != nil {
			return err
		}
		switch kind {
		case blockInterface:
			err = c.describe(start, b)
		case blockEnhanced, blockPacket, blockSimple:
			return c.packet(start, kind, b, p)
		}
		if err != nil {
			return err
		}
	}
}

// describe reads an interface description: link type, snapshot length, options.
func (c *Reader) describe(start int64, b []byte) error {
	if len(b) < 8 {
		return &FormatError{start, "an interface block is shorter than 20 bytes"}
	}
	f := iface{link: c.order.Uint16(b), snap: c.order.Uint32(b[4:]), perSec: 1e6}
	for o := b[8:]; len(o) >= 4; {
		code, n := c.order.Uint16(o), int(c.order.Uint16(o[2:]))
		if code == optEnd {
			break
		}
		if n > len(o)-4 {
			return &FormatError{start, fmt.Sprintf("an interface's option %d has %d bytes, the block has %d left", code, n, len(o)-4)}
		}
		v := o[4 : 4+n]
		switch code {
		case optName:
			f.name = string(bytes.TrimRight(v, "\x00"))
		case optTSResol:
			if n != 1 {
				return &FormatError{start, fmt.Sprintf("an interface's timestamp resolution has %d bytes", n)}
			}
			if f.perSec = resolution(v[0]); f.perSec == 0 {
				return &FormatError{start, fmt.Sprintf("an interface's timestamp resolution 0x%02x is too fine", v[0])}
			}
		case optTSOffset:
			if n != 8 {
				return &FormatError{start, fmt.Sprintf("an interface's timestamp offset has %d bytes", n)}
			}
			f.seconds = int64(c.order.Uint64(v))
		}
		o = o[min(4+(n+3)&^3, len(o)):]
	}
	c.ifaces = append(c.ifaces, f)
	return nil
}

// resolution is the number of timestamp units a second that an if_tsresol stands for; 0: more than 64 bits hold.
func resolution(v byte) uint64 {
	n := uint(v & 0x7f)
	if v&0x80 != 0 {
		if n > 63 {
			return 0
		}
		return 1 << n
	}
	if n > 19 {
		return 0
	}
	r := uint64(1)
	for range n {
		r *= 10
	}
	return r
}

// time converts a timestamp of the interface; false: it is before 1970, or beyond what 63 bits of nanoseconds hold.
func (f *iface) time(ts uint64) (clock.Time, bool) {
	sec, rest := ts/f.perSec, ts%f.perSec
	hi, lo := bits.Mul64(rest, 1e9)
	ns, _ := bits.Div64(hi, lo, f.perSec) // rest < perSec, so the quotient is below 1e9
	const most = math.MaxInt64/1_000_000_000 - 1
	if sec > most || f.seconds > most || f.seconds < -most {
		return 0, false
	}
	s := int64(sec) + f.seconds
	return clock.Time(s*1e9 + int64(ns)), s >= 0 && s <= most
}

// packet reads a packet block of any of the three kinds.
func (c *Reader) packet(start int64, kind uint32, b []byte, p *Packet) error {
	var id, n, wire uint32
	var ts uint64
	head := 20
	if kind == blockSimple {
		head = 4
	}
	if len(b) < head {
		return &FormatError{start, fmt.Sprintf("a packet block of %d bytes lacks its header", len(b)+12)}
	}
	switch kind {
	case blockEnhanced:
		id = c.order.Uint32(b)
	case blockPacket:
		id = uint32(c.order.Uint16(b))
	}
	if int(id) >= len(c.ifaces) {
		return &FormatError{start, fmt.Sprintf("a packet of interface %d; the section has described %d", id, len(c.ifaces))}
	}
	f := &c.ifaces[id]
	if f.link != linkEthernet {
		return &FormatError{start, fmt.Sprintf("a packet of interface %d, whose link type is %d; Ethernet (%d) is read", id, f.link, linkEthernet)}
	}
	if kind == blockSimple { // no time of its own: that of the packet before it
		wire = c.order.Uint32(b)
		n = wire
		if f.snap != 0 {
			n = min(n, f.snap)
		}
	} else {
		ts = uint64(c.order.Uint32(b[4:]))<<32 | uint64(c.order.Uint32(b[8:]))
		n, wire = c.order.Uint32(b[12:]), c.order.Uint32(b[16:])
		var ok bool
		if c.last, ok = f.time(ts); !ok {
			return &FormatError{start, fmt.Sprintf("a packet's timestamp %d is out of range", ts)}
		}
	}
	if n > maxFrame || int(n) > len(b)-head {
		return &FormatError{start, fmt.Sprintf("a packet of %d bytes in a block that has room for %d: the file is damaged", n, len(b)-head)}
	}
	*p = Packet{Time: c.last, Interface: f.name, Data: b[head : head+int(n)], Length: int(wire), Offset: start}
	return nil
}
