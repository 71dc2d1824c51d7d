package capture

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/fastlb/fastlb/internal/clock"
)

// Writer writes a pcapng of one section, little-endian, with nanosecond timestamps. The bytes depend on the calls
// alone. It does not buffer: give it a bufio.Writer. It is not safe for concurrent use.
type Writer struct {
	out    io.Writer
	ifaces int
	buf    []byte
}

// NewWriter writes the section header and a block for each interface, in this order.
func NewWriter(out io.Writer, interfaces ...string) (*Writer, error) {
	w := &Writer{out: out, ifaces: len(interfaces)}
	b := w.begin(blockSection)
	b = binary.LittleEndian.AppendUint32(b, byteOrderMagic)
	b = binary.LittleEndian.AppendUint32(b, 1)       // version 1.0
	b = binary.LittleEndian.AppendUint64(b, 1<<64-1) // section length: not given
	if err := w.end(b); err != nil {
		return nil, err
	}
	for _, name := range interfaces {
		if len(name) > 0xffff {
			return nil, fmt.Errorf("an interface name of %d bytes", len(name))
		}
		b := w.begin(blockInterface)
		b = binary.LittleEndian.AppendUint16(b, linkEthernet)
		b = binary.LittleEndian.AppendUint16(b, 0)
		b = binary.LittleEndian.AppendUint32(b, maxFrame)
		b = option(b, optName, []byte(name))
		b = option(b, optTSResol, []byte{9})
		b = option(b, optEnd, nil)
		if err := w.end(b); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Write adds a frame of interface number i (its place in NewWriter's arguments). at must not be before 1970.
func (w *Writer) Write(i int, at clock.Time, frame []byte) error {
	if i < 0 || i >= w.ifaces {
		return fmt.Errorf("write a frame: interface %d of %d", i, w.ifaces)
	}
	if len(frame) > maxFrame {
		return fmt.Errorf("write a frame: %d bytes, at most %d", len(frame), maxFrame)
	}
	if at < 0 {
		return fmt.Errorf("write a frame: its time is %d ns before 1970, which pcapng does not hold", -at)
	}
	b := w.begin(blockEnhanced)
	b = binary.LittleEndian.AppendUint32(b, uint32(i))
	b = binary.LittleEndian.AppendUint32(b, uint32(uint64(at)>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(at))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
	b = pad(append(b, frame...))
	return w.end(b)
}

// begin starts a block in the writer's buffer; its length is filled in by end.
func (w *Writer) begin(kind uint32) []byte {
	b := binary.LittleEndian.AppendUint32(w.buf[:0], kind)
	return binary.LittleEndian.AppendUint32(b, 0)
}

// end completes the block and writes it.
func (w *Writer) end(b []byte) error {
	total := uint32(len(b) + 4)
	binary.LittleEndian.PutUint32(b[4:], total)
	b = binary.LittleEndian.AppendUint32(b, total)
	w.buf = b
	if _, err := w.out.Write(b); err != nil {
		return fmt.Errorf("write a capture: %w", err)
	}
	return nil
}

// option appends an option: code, length, value, padding.
func option(b []byte, code uint16, v []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
	return pad(append(b, v...))
}

// pad fills up to a multiple of four bytes. Blocks begin at one, so the length of b tells how much is missing.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
