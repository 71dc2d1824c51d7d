package ring

import (
	"errors"
	"fmt"

	"github.com/fastlb/fastlb/numa"
)

// UMEMs is the packet memory of one worker: usually one UMEM that all its sockets share, else several beside each other
// (Parts). Its owners are those of UMEM.
type UMEMs struct {
	List  []*UMEM
	Parts *Parts     // nil: there is one
	Pages numa.Pages // what the memory got
	Total int        // frames in all

	memory *numa.Memory // of several
}

// NewUMEMs maps and faults in memory for one UMEM for each of frames, of at least so many frames; node is the NUMA node, -1
// wherever the thread runs.
func NewUMEMs(huge numa.HugePages, node int, frames ...int) (*UMEMs, error) {
	total := 0
	for _, n := range frames {
		total += n
	}
	if len(frames) == 1 {
		u, err := NewUMEM(UMEMConfig{Frames: total, HugePages: huge, Node: node})
		if err != nil {
			return nil, err
		}
		return &UMEMs{List: []*UMEM{u}, Pages: u.Pages, Total: u.Frames.Cap()}, nil
	}
	m, err := numa.Alloc(total*FrameSize, huge, node)
	if err != nil {
		return nil, fmt.Errorf("UMEMs of %v frames: %w", frames, err)
	}
	parts, err := NewParts(m.Bytes, frames...)
	if err != nil {
		return nil, errors.Join(err, m.Free())
	}
	u := &UMEMs{Parts: parts, Pages: m.Pages, Total: parts.Frames.Cap(), memory: m}
	for i := range frames {
		u.List = append(u.List, &UMEM{Frames: parts.Part(i), Pages: m.Pages})
	}
	return u, nil
}

// Frames are the worker's.
func (u *UMEMs) Frames() *Frames {
	if u.Parts != nil {
		return u.Parts.Frames
	}
	return u.List[0].Frames
}

// Free is how many frames are free. It belongs to the worker's goroutine.
func (u *UMEMs) Free() int {
	if u.Parts != nil {
		return u.Parts.Free()
	}
	return u.List[0].Frames.Len()
}

// Close unmaps the memory. The sockets have been closed before; no frame may be touched afterwards.
func (u *UMEMs) Close() error {
	for _, m := range u.List {
		if err := m.Close(); err != nil {
			return err
		}
	}
	if u.Parts == nil {
		return nil
	}
	u.Parts.Frames.Mem = nil
	return u.memory.Free()
}
