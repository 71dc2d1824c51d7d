package flow

import (
	"fmt"
	"unsafe"
)

// bucket is one cache line of the index.
type bucket [slots]uint64

// views turns raw memory into the table's typed parts. Record 0 exists and is never used, so that a Ref is an index.
func views(mem []byte, l layout) (h *header, index []bucket, sweep []uint32, recs []Conn, err error) {
	if int64(len(mem)) < l.size {
		return nil, nil, nil, nil, fmt.Errorf("flow table: %d bytes of memory, need %d", len(mem), l.size)
	}
	if uintptr(unsafe.Pointer(&mem[0]))%64 != 0 {
		return nil, nil, nil, nil, fmt.Errorf("flow table: memory is not aligned to 64 bytes")
	}
	h = (*header)(unsafe.Pointer(&mem[0]))
	index = unsafe.Slice((*bucket)(unsafe.Pointer(&mem[l.index])), l.buckets)
	sweep = unsafe.Slice((*uint32)(unsafe.Pointer(&mem[l.sweep])), l.capacity+1)
	recs = unsafe.Slice((*Conn)(unsafe.Pointer(&mem[l.records])), l.capacity+1)
	return h, index, sweep, recs, nil
}

// headerBytes is the part of the header that its checksum covers.
func headerBytes(h *header) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(h)), unsafe.Offsetof(h.Checksum))
}

// AlignedBytes is heap memory aligned to a cache line, zeroed: what tests and small tables give to New.
func AlignedBytes(n int64) []byte {
	b := make([]byte, n+63)
	skip := -uintptr(unsafe.Pointer(&b[0])) & 63
	return b[skip : int64(skip)+n : int64(skip)+n]
}

// keyWord is the last word of a key: SrcPort, DstPort, Proto and Family from the low bits up; what lies above is 0.
func keyWord(k *Key) uint64 {
	return *(*uint64)(unsafe.Pointer(&k.SrcPort)) & 0xffff_ffff_ffff
}

// portsWord is the record's word of CPort, VPort, DPort, Proto and family from the low bits up. It is loaded and stored
// as a whole, so that re-keying a published record switches from the old key to the new at one instant.
func portsWord(c *Conn) *uint64 { return (*uint64)(unsafe.Pointer(&c.CPort)) }

func bucketAddr(b *bucket) uintptr { return uintptr(unsafe.Pointer(b)) }
func connAddr(c *Conn) uintptr     { return uintptr(unsafe.Pointer(c)) }

// words is the record as its sixteen words.
func words(c *Conn) *[16]uint64 { return (*[16]uint64)(unsafe.Pointer(c)) }

// headerOf turns the first page of a table into its header.
func headerOf(mem []byte) *header { return (*header)(unsafe.Pointer(unsafe.SliceData(mem))) }

// stateHeaderOf turns the first page of a state file into its header.
func stateHeaderOf(mem []byte) *stateHeader {
	return (*stateHeader)(unsafe.Pointer(unsafe.SliceData(mem)))
}

// stateBytes is the part of the header that its checksum covers.
func stateBytes(h *stateHeader) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(h)), unsafe.Offsetof(h.Checksum))
}
