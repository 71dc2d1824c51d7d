package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fastlb/fastlb/internal/clock"
)

// ErrFormat is wrapped by every error about a capture that is damaged, cut short or of a kind that is not read.
var ErrFormat = errors.New("bad capture")

// FormatError says what is wrong with a capture, and where.
type FormatError struct {
	Offset int64 // byte of the file at which the faulty block or record begins
	What   string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("bad capture: at byte %d: %s", e.Offset, e.What)
}

// Is makes every FormatError match ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }

// maxFrame bounds what a length field may ask for: the largest frame that capture programs write (MAXIMUM_SNAPLEN of
// libpcap). maxBlock bounds a pcapng block the same way, its options included.
const (
	maxFrame = 262144
	maxBlock = 16 << 20
)

const linkEthernet = 1 // LINKTYPE_ETHERNET

// Packet is one captured frame.
type Packet struct {
	Time      clock.Time // nanoseconds since 1970, as the capture has it
	Interface string     // name of the interface; "" when the capture does not name it
	Data      []byte     // Ethernet frame without FCS; valid until the next call of Next
	Length    int        // length of the frame on the wire; more than len(Data) when the capture cut it
	Offset    int64      // byte of the file at which its block or record begins
}

// Reader reads a capture packet by packet. It is not safe for concurrent use.
type Reader struct {
	in     *bufio.Reader
	offset int64 // bytes consumed
	order  binary.ByteOrder
	buf    []byte
	next   func(*Packet) error

	// pcap
	nano bool

	// pcapng
	ifaces []iface // of the current section
	last   clock.Time
}

// NewReader begins to read a capture; pcap or pcapng is told from the first bytes.
func NewReader(r io.Reader) (*Reader, error) {
	c := &Reader{in: bufio.NewReaderSize(r, 1<<16)}
	magic, err := c.in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(magic) < 4 {
		return nil, &FormatError{0, fmt.Sprintf("the file has %d bytes: no capture begins so; give a pcap or pcapng file", len(magic))}
	}
	if binary.BigEndian.Uint32(magic) == blockSection {
		c.next = c.nextBlock
		return c, c.firstSection()
	}
	if !c.isPcap(magic) {
		return nil, &FormatError{0, fmt.Sprintf("begins with %x, which neither pcap nor pcapng does; convert the file with tshark or editcap", magic)}
	}
	c.next = c.nextRecord
	return c, c.pcapHeader()
}

// Next reads the next packet into p. The error is io.EOF at the end of a whole capture, a *FormatError at damage.
func (c *Reader) Next(p *Packet) error { return c.next(p) }

// read fills the reader's buffer with the next n bytes. what names them in the error; start is where their block or
// record began.
func (c *Reader) read(n int, start int64, what string) ([]byte, error) {
	if cap(c.buf) < n {
		c.buf = make([]byte, n, max(n, 4096))
	}
	b := c.buf[:n]
	got, err := io.ReadFull(c.in, b)
	c.offset += int64(got)
	switch {
	case err == nil:
		return b, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &FormatError{start, fmt.Sprintf("%s needs %d bytes, the file ends after %d of them: it was cut short", what, n, got)}
	}
	return nil, fmt.Errorf("read at byte %d: %w", c.offset, err)
}

// atEnd tells whether the input is at its end.
func (c *Reader) atEnd() (bool, error) {
	_, err := c.in.Peek(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}
