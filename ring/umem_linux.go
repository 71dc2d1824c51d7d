package ring

import (
	"fmt"
	"slices"

	"github.com/fastlb/fastlb/numa"
)

// UMEM is packet memory of one worker: all sockets that have it share it, so a frame received on one interface leaves on
// another without a copy. Its frames belong to the worker's goroutine, its sockets are opened and closed by director
// while the worker does not run.
type UMEM struct {
	Frames   *Frames
	Pages    numa.Pages // what the memory got
	memory   *numa.Memory
	segments bool      // packets may lie in several frames: as the first socket was bound
	sockets  []*Socket // open ones; any of them can pass the registration on to the next
}

// NewUMEM maps and faults in the memory.
func NewUMEM(cfg UMEMConfig) (*UMEM, error) {
	m, err := numa.Alloc(cfg.Frames*FrameSize, cfg.HugePages, cfg.Node)
	if err != nil {
		return nil, fmt.Errorf("UMEM of %d frames: %w", cfg.Frames, err)
	}
	return &UMEM{Frames: NewFrames(m.Bytes), Pages: m.Pages, memory: m}, nil
}

// Close unmaps the memory. Its sockets have been closed before; no frame may be touched afterwards.
func (u *UMEM) Close() error {
	if len(u.sockets) != 0 {
		c := u.sockets[0].config
		return fmt.Errorf("close UMEM: its socket on %s queue %d is still open", c.Interface, c.Queue)
	}
	u.Frames.Mem = nil
	if u.memory == nil { // a part of more (UMEMs)
		return nil
	}
	return u.memory.Free()
}

func (u *UMEM) forget(s *Socket) {
	u.sockets = slices.DeleteFunc(u.sockets, func(o *Socket) bool { return o == s })
}
