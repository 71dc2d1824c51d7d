package capture

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/fastlb/fastlb/internal/clock"
)

// Magic numbers of a pcap file: times in microseconds or in nanoseconds.
const (
	magicMicro = 0xa1b2c3d4
	magicNano  = 0xa1b23c4d
)

// isPcap tells whether a file begins as pcap, and reads byte order and unit of time from that.
func (c *Reader) isPcap(magic []byte) bool {
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch o.Uint32(magic) {
		case magicMicro, magicNano:
			c.order, c.nano = o, o.Uint32(magic) == magicNano
			return true
		}
	}
	return false
}

// pcapHeader reads the file header: magic, version, zone, accuracy, snapshot length, link type.
func (c *Reader) pcapHeader() error {
	b, err := c.read(24, 0, "the pcap file header")
	if err != nil {
		return err
	}
	if major := c.order.Uint16(b[4:]); major != 2 {
		return &FormatError{4, fmt.Sprintf("pcap version %d.%d; 2.4 is read", major, c.order.Uint16(b[6:]))}
	}
	// The upper bits of the link type tell about the FCS.
	if link := c.order.Uint32(b[20:]) & 0x0fff_ffff; link&0xffff != linkEthernet {
		return &FormatError{20, fmt.Sprintf("link type %d; Ethernet (%d) is read", link&0xffff, linkEthernet)}
	}
	return nil
}

// nextRecord reads a record of a pcap file: seconds, fraction, captured length, original length, frame.
func (c *Reader) nextRecord(p *Packet) error {
	if end, err := c.atEnd(); err != nil {
		return err
	} else if end {
		return io.EOF
	}
	start := c.offset
	h, err := c.read(16, start, "a record header")
	if err != nil {
		return err
	}
	sec, frac := c.order.Uint32(h), c.order.Uint32(h[4:])
	n, wire := c.order.Uint32(h[8:]), c.order.Uint32(h[12:])
	unit, perSecond := int64(1000), uint32(1e6)
	if c.nano {
		unit, perSecond = 1, 1e9
	}
	if frac >= perSecond {
		return &FormatError{start, fmt.Sprintf("a record's time has the fraction %d of a second's %d: the file is damaged", frac, perSecond)}
	}
	if n > maxFrame {
		return &FormatError{start, fmt.Sprintf("a record of %d bytes; frames have at most %d: the file is damaged", n, maxFrame)}
	}
	data, err := c.read(int(n), start, "a record's frame")
	if err != nil {
		return err
	}
	*p = Packet{Time: clock.Time(int64(sec)*1e9 + int64(frac)*unit), Data: data, Length: int(wire), Offset: start}
	return nil
}
