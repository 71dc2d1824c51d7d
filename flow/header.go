package flow

import (
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	magic   = 0x31574f4c464c4246 // "FBLFLOW1", little-endian
	version = 2                  // of the layout below; a table of another version is refused

	slots      = 8 // words in a bucket
	recordSize = 128

	pageSize = 4096

	// MaxCapacity is bound by the 31 bits of a free list's link.
	MaxCapacity = 1<<31 - 2
)

// Errors of Open.
var (
	ErrNoTable     = errors.New("no connection table here")
	ErrBadHeader   = errors.New("connection table's header is damaged")
	ErrWrongLayout = errors.New("connection table has another layout")
)

// header is the table's first page. Written once by New, its checksum last; read by Open.
type header struct {
	Magic      uint64
	Version    uint32
	RecordSize uint32
	Capacity   uint32
	Buckets    uint32
	Seed       [2]uint64
	Size       uint64 // of the whole, in bytes
	Checksum   uint32 // CRC-32C of the fields above
	_          uint32
}

// layout says where the parts lie, as offsets in bytes.
//
//	0         4096                +64 per bucket        +4 per record        +128 per record
//	+---------+-------------------+---------------------+--------------------+
//	| header  | index: buckets    | sweep: a coarse     | records: Conn      |
//	|         | of 8 words        | deadline a record   |                    |
//	+---------+-------------------+---------------------+--------------------+
//
// Each part begins on a page. With 380 buckets for a thousand records (3 words, 24.3 bytes a record) a connection costs
// 24.3 + 4 + 128 = 156.3 bytes, header included, so that with the program itself, its heap and the servers' slots a director of
// ten million connections stays below 160; a full table of NAT connections, two words each, fills 66 % of the index.
type layout struct {
	capacity      uint32
	buckets       uint32
	index, sweep  int64
	records, size int64
}

func layoutFor(capacity uint32) layout {
	l := layout{capacity: capacity}
	b := uint64(capacity) * 380 / 1000 &^ 1 // an even number: buckets come in pairs
	l.buckets = uint32(max(b, 4))
	l.index = pageSize
	l.sweep = page(l.index + int64(l.buckets)*64)
	l.records = page(l.sweep + 4*(int64(capacity)+1))
	l.size = page(l.records + recordSize*(int64(capacity)+1))
	return l
}

func page(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }

// Size is the number of bytes that a table for capacity connections needs.
func Size(capacity uint32) int64 { return layoutFor(capacity).size }

func (h *header) sum() uint32 {
	return crc32.Checksum(headerBytes(h), crc32.MakeTable(crc32.Castagnoli))
}

func (h *header) check(have int64) (layout, error) {
	switch {
	case h.Magic == 0:
		return layout{}, ErrNoTable
	case h.Magic != magic || h.Checksum != h.sum():
		return layout{}, ErrBadHeader
	case h.Version != version || h.RecordSize != recordSize:
		return layout{}, fmt.Errorf("%w: version %d with records of %d bytes, this program has version %d with %d",
			ErrWrongLayout, h.Version, h.RecordSize, version, recordSize)
	}
	l := layoutFor(h.Capacity)
	if l.buckets != h.Buckets || uint64(l.size) != h.Size || h.Capacity == 0 || h.Capacity > MaxCapacity {
		return layout{}, ErrBadHeader
	}
	if l.size > have {
		return layout{}, fmt.Errorf("%w: %d bytes are here of a table of %d", ErrBadHeader, have, l.size)
	}
	return l, nil
}
