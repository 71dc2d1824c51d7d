package ring_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/ring/ringtest"
)

// pair is a worker's two ports with a UMEM each, and the kernel behind them.
type pair struct {
	parts   *ring.Parts
	sockets []*ring.Socket
	kernels []*ringtest.Kernel
	ports   []*ring.Crossing
}

const crossingBatch = 16

func newPair(t *testing.T, frames int, sizes ring.Sizes) *pair {
	t.Helper()
	parts, err := ring.NewParts(make([]byte, 2*frames*ring.FrameSize), frames, frames)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{parts: parts}
	for i := range 2 {
		s, k, err := ringtest.New(parts.Part(i), sizes)
		if err != nil {
			t.Fatal(err)
		}
		p.sockets, p.kernels = append(p.sockets, s), append(p.kernels, k)
		p.ports = append(p.ports, ring.NewCrossing(s, parts, i, crossingBatch))
	}
	return p
}

// census looks whether every frame of both parts is in one place. The pair is of no use afterwards.
func (p *pair) census(t *testing.T, held ...uint64) {
	t.Helper()
	size := uint64(len(p.parts.Part(0).Mem))
	for addr, ok := p.parts.Frames.Get(); ok; addr, ok = p.parts.Frames.Get() {
		held = append(held, addr) // the reserve
	}
	for i := range 2 {
		var own []uint64
		for _, addr := range held {
			if int(addr/size) == i {
				own = append(own, addr%size)
			}
		}
		if err := ringtest.Census(p.parts.Part(i), own, p.sockets[i:i+1], p.kernels[i:i+1]); err != nil {
			t.Errorf("part %d: %v", i, err)
		}
	}
}

// refill fills both ports' rings.
func (p *pair) refill() {
	for _, x := range p.ports {
		x.Refill(p.parts.Frames)
	}
}

// A packet keeps its bytes and its place in the frame when it leaves by the other UMEM, and its own frame is free at once.
func TestCrossingCopies(t *testing.T) {
	p := newPair(t, ring.Reserve+32, ring.Sizes{Fill: 8, Completion: 8, RX: 8, TX: 8})
	p.refill()
	p.kernels[1].Inject(packetNumber(1), packetNumber(2))
	d := make([]ring.Desc, 4)
	if n := p.ports[1].Receive(d); n != 2 {
		t.Fatalf("received %d", n)
	}
	for i := range 2 {
		if got := p.parts.Frames.Bytes(d[i]); !bytes.Equal(got, packetNumber(i+1)) {
			t.Errorf("the worker sees %q", got)
		}
	}
	d[0].Addr, d[0].Len = d[0].Addr-3, d[0].Len+3 // the worker has put something in front
	copy(p.parts.Frames.Bytes(d[0]), "+++")
	free := p.parts.Free()
	if n := p.ports[0].Transmit(d[:1]); n != 1 || p.parts.Free() != free || p.parts.Copied() != 1 {
		t.Errorf("took %d, %d free, %d copied; want 1, %d, 1: one frame goes, another comes back", n, p.parts.Free(), p.parts.Copied(), free)
	}
	if n := p.ports[1].Transmit(d[1:2]); n != 1 || p.parts.Free() != free || p.parts.Copied() != 1 {
		t.Errorf("by its own port: took %d, %d free, %d copied; want 1, %d, 1", n, p.parts.Free(), p.parts.Copied(), free)
	}
	for i, want := range []string{"+++packet 1", "packet 2"} {
		out := p.kernels[i].Send()
		if len(out) != 1 || string(out[0]) != want {
			t.Errorf("port %d sent %q, want %q", i, out, want)
		}
		if n := p.ports[i].Complete(p.parts.Frames); n != 1 {
			t.Errorf("port %d completed %d", i, n)
		}
	}
	p.census(t)
}

// What a port cannot take stays the caller's: a full ring, no frames to copy into, packets of several frames.
func TestCrossingTakesWhatItCan(t *testing.T) {
	p := newPair(t, ring.Reserve+16, ring.Sizes{Fill: 8, Completion: 8, RX: 8, TX: 8})
	p.refill()
	var d []ring.Desc
	for i := range 8 {
		p.kernels[0].Inject(packetNumber(i))
		in := make([]ring.Desc, 1)
		p.ports[0].Receive(in)
		d = append(d, in[0])
	}
	var taken []uint64 // so that part 1 has three free frames
	for p.parts.Part(1).Len() > 3 {
		addr, _ := p.parts.Part(1).Get()
		taken = append(taken, addr)
	}
	d[2].Options, d[3].Options = ring.Continued, ring.Continued // a packet in three frames
	if n := p.ports[1].Transmit(d); n != 2 {
		t.Errorf("took %d descriptors with three frames, want 2: the next packet needs three", n)
	}
	for _, addr := range taken {
		p.parts.Part(1).Put(addr)
	}
	d = d[2:]
	if n := p.ports[1].Transmit(d); n != 6 {
		t.Errorf("took %d descriptors, want 6", n)
	}
	if n := p.ports[1].Transmit([]ring.Desc{{Addr: taken[0] + uint64(len(p.parts.Part(0).Mem)), Len: 1}}); n != 0 {
		t.Error("took a descriptor for which the ring has no room")
	}
	if out := p.kernels[1].Send(); len(out) != 8 {
		t.Errorf("sent %d", len(out))
	}
	p.ports[1].Complete(p.parts.Frames)
	p.census(t)
}

// The options of a descriptor go with it to the other UMEM.
func TestCrossingKeepsOptions(t *testing.T) {
	p := newPair(t, ring.Reserve+16, ring.Sizes{Fill: 8, Completion: 8, RX: 8, TX: 8})
	var d []ring.Desc
	for _, options := range []uint32{ring.Continued, ring.Continued, 0} {
		f, _ := p.parts.Part(0).Get()
		d = append(d, ring.Desc{Addr: f, Len: 10, Options: options})
	}
	if n := p.ports[1].Transmit(d); n != 3 {
		t.Fatalf("took %d", n)
	}
	var out [4]ring.Desc
	if n := p.kernels[1].Take(out[:]); n != 3 || out[0].Options != ring.Continued || out[1].Options != ring.Continued || out[2].Options != 0 {
		t.Errorf("sent %+v", out[:n])
	}
}

// Whatever the worker and the kernel do, every frame has one owner at the end, and no packet changes on its way.
func TestPartsKeepEveryFrame(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		p := newPair(t, ring.Reserve+24+rnd.IntN(200), ring.Sizes{Fill: 32, Completion: 16, RX: 16, TX: 16})
		frames := p.parts.Frames
		made := 0
		var held []ring.Desc // in the worker's hands
		check := func(b []byte) {
			var n int
			if _, err := fmt.Sscanf(string(b), "packet %d", &n); err != nil || string(b) != string(packetNumber(n)) {
				t.Fatalf("seed %d: a packet reads %q", seed, b)
			}
		}
		for range 3000 {
			i := rnd.IntN(2)
			port, k := p.ports[i], p.kernels[i]
			switch rnd.IntN(10) {
			case 0, 1:
				k.Inject(packetNumber(made))
				made++
			case 2, 3:
				d := make([]ring.Desc, 1+rnd.IntN(8))
				held = append(held, d[:port.Receive(d)]...)
			case 4, 5:
				rnd.Shuffle(len(held), func(a, b int) { held[a], held[b] = held[b], held[a] })
				n := port.Transmit(held[:rnd.IntN(len(held)+1)])
				held = append([]ring.Desc(nil), held[n:]...)
			case 6:
				k.MaxSend, k.NoCompletions = rnd.IntN(4), rnd.IntN(3) == 0
				for _, b := range k.Send() {
					check(b)
				}
				port.Complete(frames)
			case 7:
				port.Refill(frames)
			case 8: // the worker drops a packet
				if n := len(held); n > 0 {
					check(frames.Bytes(held[n-1]))
					frames.Put(held[n-1].Addr)
					held = held[:n-1]
				}
			case 9: // or makes one
				if addr, ok := frames.Get(); ok && len(held) < 40 {
					addr += uint64(rnd.IntN(ring.Headroom))
					held = append(held, ring.Desc{Addr: addr, Len: uint32(copy(frames.Mem[addr:], packetNumber(made)))})
					made++
				} else if ok {
					frames.Put(addr)
				}
			}
			if k.Withhold(false); rnd.IntN(4) == 0 {
				k.Withhold(true)
			}
		}
		var addrs []uint64
		for i := range held {
			check(frames.Bytes(held[i]))
			addrs = append(addrs, held[i].Addr)
		}
		if p.parts.Copied() == 0 {
			t.Errorf("seed %d: nothing was copied", seed)
		}
		p.census(t, addrs...)
	}
}

// The worker's own stack is kept near the reserve, by whichever part has most.
func TestPartsReserve(t *testing.T) {
	p := newPair(t, ring.Reserve+100, ring.Sizes{Fill: 64, Completion: 8, RX: 8, TX: 8})
	if n := p.parts.Frames.Len(); n != ring.Reserve || p.parts.Free() != 2*(ring.Reserve+100) {
		t.Fatalf("the worker has %d frames, %d are free", n, p.parts.Free())
	}
	var taken []uint64
	for addr, ok := p.parts.Frames.Get(); ok; addr, ok = p.parts.Frames.Get() {
		taken = append(taken, addr)
	}
	p.refill()
	if n := p.parts.Frames.Len(); n != ring.Reserve {
		t.Errorf("the worker has %d frames after it took all, want %d", n, ring.Reserve)
	}
	if a, b := p.parts.Part(0).Len(), p.parts.Part(1).Len(); max(a, b)-min(a, b) > 64+1 {
		t.Errorf("the parts have %d and %d free frames", a, b)
	}
	for _, addr := range taken {
		p.parts.Frames.Put(addr)
	}
	p.refill()
	if n := p.parts.Frames.Len(); n != ring.Reserve {
		t.Errorf("the worker has %d frames after it put all back, want %d", n, ring.Reserve)
	}
	p.census(t)
}

func TestNewPartsRefuses(t *testing.T) {
	for _, frames := range [][]int{{3, 3}, {0, 4}, {5}} {
		if _, err := ring.NewParts(make([]byte, 4*ring.FrameSize), frames...); err == nil {
			t.Errorf("%v frames of 4 are parts", frames)
		}
	}
	p, err := ring.NewParts(make([]byte, 9*ring.FrameSize), 3, 4)
	if err != nil || p.Part(0).Cap() != 3 || p.Part(1).Cap() != 6 {
		t.Errorf("what is left over is not the last part's: %v", err)
	}
}
