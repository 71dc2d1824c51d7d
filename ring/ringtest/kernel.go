package ringtest

import (
	"fmt"
	"slices"

	"github.com/fastlb/fastlb/ring"
)

// Kernel is the misbehaving other half of one socket. Its fields may be changed between calls. It belongs to one
// goroutine, that of the test.
type Kernel struct {
	*ring.Kernel

	MaxSend       int  // packets that one Send takes off the TX ring; 0: all
	NoCompletions bool // transmitted frames stay with the kernel until this is cleared
	Starve        bool // the fill ring is not looked at: every packet is dropped for want of a frame

	WakeErrors []ring.Wake // what the next wakeups return, then WakeDone
	WakesTX    int         // wakeups seen
	WakesRX    int

	Dropped int // packets for which there was no frame or no room in the RX ring

	mem  []byte
	free []uint64 // frames taken off the fill ring
	done []uint64 // frames transmitted and not yet completed
}

// New makes a socket and its kernel half.
func New(frames *ring.Frames, sizes ring.Sizes) (*ring.Socket, *Kernel, error) {
	s, k, err := ring.NewMemory(frames, sizes)
	if err != nil {
		return nil, nil, err
	}
	t := &Kernel{Kernel: k, mem: frames.Mem}
	k.OnWakeTX = func() ring.Wake { t.WakesTX++; return t.wake() }
	k.OnWakeRX = func() ring.Wake { t.WakesRX++; return t.wake() }
	return s, t, nil
}

func (k *Kernel) wake() ring.Wake {
	if len(k.WakeErrors) == 0 {
		return ring.WakeDone
	}
	w := k.WakeErrors[0]
	k.WakeErrors = k.WakeErrors[1:]
	return w
}

// Inject receives packets as a NIC would: each is copied into a frame of the fill ring, behind the headroom, and put on
// the RX ring. It returns how many arrived; the others are dropped and counted.
func (k *Kernel) Inject(packets ...[]byte) int {
	n := 0
	for _, p := range packets {
		if k.inject(p) {
			n++
		} else {
			k.Dropped++
		}
	}
	return n
}

func (k *Kernel) inject(p []byte) bool {
	if len(p) > ring.MaxPacket {
		panic(fmt.Sprintf("ringtest: packet of %d bytes", len(p)))
	}
	if len(k.free) == 0 && !k.Starve {
		k.fetch()
	}
	if k.Starve || len(k.free) == 0 {
		return false
	}
	last := len(k.free) - 1
	addr := k.free[last] + ring.Headroom
	copy(k.mem[addr:], p)
	if k.Give([]ring.Desc{{Addr: addr, Len: uint32(len(p))}}) == 0 {
		return false
	}
	k.free = k.free[:last]
	return true
}

// fetch takes all frames off the fill ring. Entries are masked to the frame, as the kernel does.
func (k *Kernel) fetch() {
	var batch [64]uint64
	for {
		n := k.Drain(batch[:])
		if n == 0 {
			return
		}
		for _, addr := range batch[:n] {
			k.free = append(k.free, addr&^(ring.FrameSize-1))
		}
	}
}

// Send transmits what is on the TX ring, at most MaxSend packets, and returns copies in order. Their frames are completed
// unless NoCompletions holds them back.
func (k *Kernel) Send() [][]byte {
	var out [][]byte
	var d [1]ring.Desc
	for (k.MaxSend == 0 || len(out) < k.MaxSend) && k.Take(d[:]) == 1 {
		out = append(out, slices.Clone(k.mem[d[0].Addr:d[0].Addr+uint64(d[0].Len)]))
		k.done = append(k.done, d[0].Addr)
	}
	if !k.NoCompletions {
		k.done = k.done[k.Feed(k.done):]
	}
	return out
}

// Held are the frames in the kernel's hands, by address, those on the rings not counted.
func (k *Kernel) Held() []uint64 {
	out := slices.Clone(k.free)
	for _, addr := range k.done {
		out = append(out, addr&^(ring.FrameSize-1))
	}
	return out
}

// Census takes every frame out of the rings of socket and kernel, and out of f, and reports an error unless each of the
// f.Cap() frames was found exactly once: none lost, none twice. held are frames that the caller itself holds. The socket
// is of no use afterwards. Several sockets over the same frames are given together.
func Census(f *ring.Frames, held []uint64, sockets []*ring.Socket, kernels []*Kernel) error {
	seen := make(map[uint64]int)
	note := func(addr uint64) { seen[addr&^(ring.FrameSize-1)]++ }
	for _, addr := range held {
		note(addr)
	}
	for i, k := range kernels {
		k.Withhold(false)
		k.fetch()
		for d := make([]ring.Desc, 1); k.Take(d) == 1; {
			note(d[0].Addr)
		}
		for _, addr := range k.Held() {
			note(addr)
		}
		for d := make([]ring.Desc, 1); sockets[i].Receive(d) == 1; {
			note(d[0].Addr)
		}
		sockets[i].Complete(f) // what the completion ring holds goes to f
	}
	for {
		addr, ok := f.Get()
		if !ok {
			break
		}
		note(addr)
	}
	for addr, n := range seen {
		if n != 1 {
			return fmt.Errorf("frame %d exists %d times", addr/ring.FrameSize, n)
		}
	}
	if len(seen) != f.Cap() {
		return fmt.Errorf("%d of %d frames were lost", f.Cap()-len(seen), f.Cap())
	}
	return nil
}
