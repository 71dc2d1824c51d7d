package service

import "unsafe"

// slotsHeader takes the place of slot 0 in the memory of Slots.
type slotsHeader struct {
	Magic    [8]byte
	Size     uint32 // of a slot, bytes
	Capacity uint32 // slots after the header
	_        [112]byte
}

const slotSize = int(unsafe.Sizeof(Server{}))

// Compile-time: the header is as large as a slot.
var _ [slotSize]byte = [unsafe.Sizeof(slotsHeader{})]byte{}

// view turns memory into the header and the slots. The memory must be aligned to 8 bytes.
func view(mem []byte) (*slotsHeader, []Server, bool) {
	if len(mem) < 2*slotSize || uintptr(unsafe.Pointer(&mem[0]))%8 != 0 {
		return nil, nil, false
	}
	n := len(mem)/slotSize - 1
	return (*slotsHeader)(unsafe.Pointer(&mem[0])), unsafe.Slice((*Server)(unsafe.Pointer(&mem[slotSize])), n), true
}

// slot returns the slot of another number in the memory that s lies in. The number must come from a slot there.
func (s *Server) slot(number uint32) *Server {
	return (*Server)(unsafe.Add(unsafe.Pointer(s), (int(number)-int(s.Number))*slotSize))
}
