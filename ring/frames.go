package ring

import "fmt"

// Frames is a worker's free-frame stack over the memory of its UMEM. A frame that is on it belongs to nobody else. It is
// the worker's alone: no method may be called by two goroutines at a time.
//
// Addresses are offsets into Mem. Get gives the start of a frame; Put and Bytes take any address within one, as the RX
// and completion rings give them.
type Frames struct {
	Mem   []byte
	free  []uint64 // capacity is the number of frames: Put never grows it
	audit audit    // who owns each frame; empty unless built with fastlb_debug
}

// NewFrames makes a stack with every frame of mem on it. mem is a whole number of frames; the stack does not own it.
func NewFrames(mem []byte) *Frames {
	n := len(mem) / FrameSize
	if n == 0 || len(mem)%FrameSize != 0 {
		panic(fmt.Sprintf("ring: %d bytes are not a whole number of frames", len(mem)))
	}
	f := &Frames{Mem: mem, free: make([]uint64, n), audit: newAudit(n)}
	for i := range f.free {
		f.free[i] = uint64(n-1-i) * FrameSize // the first Get gives frame 0
	}
	return f
}

// Get takes a frame off the stack: the address of its first byte. false: none is free.
//
//fastlb:hot
func (f *Frames) Get() (addr uint64, ok bool) {
	n := len(f.free) - 1
	if n < 0 {
		return 0, false
	}
	addr = f.free[n]
	f.free = f.free[:n]
	f.audit.move(addr, ownerFree, ownerWorker)
	return addr, true
}

// Put gives a frame back, by any address within it.
//
//fastlb:hot
func (f *Frames) Put(addr uint64) {
	addr &^= FrameSize - 1
	f.audit.move(addr, ownerWorker, ownerFree)
	n := len(f.free)
	f.free = f.free[:n+1] // beyond capacity: a frame was given back twice
	f.free[n] = addr
}

// Len is the number of free frames.
//
//fastlb:hot
func (f *Frames) Len() int { return len(f.free) }

// Cap is the number of frames in all.
func (f *Frames) Cap() int { return cap(f.free) }

// Bytes is the packet that d describes, capacity up to the end of its frame. A descriptor that leaves its frame, which no
// sane kernel gives, yields nil.
//
//fastlb:hot
func (f *Frames) Bytes(d Desc) []byte {
	end := d.Addr | (FrameSize - 1) // last byte of the frame
	if end >= uint64(len(f.Mem)) || d.Addr+uint64(d.Len) > end+1 {
		return nil
	}
	return f.Mem[d.Addr : d.Addr+uint64(d.Len) : end+1]
}
