package ring

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// chainRig is a socket that keeps chains, with its kernel half and the frames that the kernel has.
func chainRig(t *testing.T, slots int) (*Socket, *Kernel, *Frames, []uint64) {
	t.Helper()
	f := NewFrames(make([]byte, 4*slots*FrameSize))
	s, k, err := NewMemory(f, Sizes{Fill: slots, Completion: slots, RX: slots, TX: slots})
	if err != nil {
		t.Fatal(err)
	}
	s.KeepChains()
	s.Refill(f)
	addr := make([]uint64, slots)
	return s, k, f, addr[:k.Drain(addr)]
}

// chainOf makes a packet of n frames; its number is its length.
func chainOf(addr []uint64, n, number int) []Desc {
	d := make([]Desc, n)
	for i := range d {
		d[i] = Desc{Addr: addr[i] + Headroom, Len: uint32(number), Options: Continued}
	}
	d[n-1].Options = 0
	return d
}

func TestReceiveKeepsChainsWhole(t *testing.T) {
	s, k, f, addr := chainRig(t, 64)
	one, three := chainOf(addr, 1, 1), chainOf(addr[1:], 3, 2)
	k.Give(slices.Concat(one, three[:2]))
	var d [MaxChain]Desc
	if n := s.Receive(d[:]); n != 1 || d[0] != one[0] {
		t.Fatalf("a packet and the beginning of another: %d descriptors", n)
	}
	if n := s.Receive(d[:]); n != 0 {
		t.Fatalf("the beginning of a packet: %d descriptors", n)
	}
	k.Give(three[2:])
	if n := s.Receive(d[:]); n != 3 || !slices.Equal(d[:n], three) {
		t.Fatalf("the whole packet: %d descriptors", n)
	}
	if n := f.Len(); n != f.Cap()-64 {
		t.Errorf("%d frames are free, want those that the kernel never had: %d", n, f.Cap()-64)
	}
}

// A batch that ends within a packet ends before it; every packet comes once, whole and in order, whatever the batches are.
func TestReceiveChainsInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s, k, f, addr := chainRig(t, 128)
	next, want := 1, 1
	var queue []Desc
	for range 5000 {
		if n := rng.IntN(18) + 1; len(queue) == 0 && len(addr) >= n {
			queue, addr = chainOf(addr, n, next), addr[n:]
			next++
		}
		m := k.Give(queue[:rng.IntN(len(queue)+1)])
		queue = queue[m:]
		d := make([]Desc, MaxChain+rng.IntN(4))
		got := d[:s.Receive(d)]
		if len(got) > 0 && got[len(got)-1].Options != 0 {
			t.Fatal("a batch ends within a packet")
		}
		for i, v := range got {
			if int(v.Len) != want {
				t.Fatalf("a frame of packet %d where one of %d was due", v.Len, want)
			}
			if got[i].Options == 0 {
				want++
			}
			f.Put(v.Addr)
		}
		s.Refill(f)
		var a [128]uint64
		addr = append(addr, a[:k.Drain(a[:])]...)
	}
	if want < 500 {
		t.Errorf("only %d packets came", want)
	}
}

func TestReceiveFreesEndlessChain(t *testing.T) {
	s, k, f, addr := chainRig(t, 256)
	long, good := chainOf(addr, 120, 1), chainOf(addr[120:], 2, 2)
	k.Give(long)
	k.Give(good)
	var got []Desc
	for range 6 {
		var d [MaxChain]Desc
		got = append(got, d[:s.Receive(d[:])]...)
	}
	if !slices.Equal(got, good) {
		t.Errorf("received %d descriptors, want the two of the packet after the endless one", len(got))
	}
	if n := f.Len() - (f.Cap() - 256); n != 120 {
		t.Errorf("%d of 120 frames were freed", n)
	}
	if n := s.Counters().LongChains.Load(); n != 1 {
		t.Errorf("LongChains is %d", n)
	}
}

func TestTransmitKeepsChainsWhole(t *testing.T) {
	s, k, f, _ := chainRig(t, 64)
	var addr []uint64
	for range 66 {
		a, _ := f.Get()
		addr = append(addr, a)
	}
	fill := make([]Desc, 62)
	for i := range fill {
		fill[i] = Desc{Addr: addr[i], Len: 60}
	}
	if n := s.Transmit(fill); n != 62 {
		t.Fatalf("%d of 62 packets fit", n)
	}
	if n := s.Transmit(chainOf(addr[62:], 3, 100)); n != 0 {
		t.Errorf("%d frames of three were taken where two fit", n)
	}
	if n := s.Transmit(append(chainOf(addr[62:], 1, 60), chainOf(addr[63:], 2, 100)...)); n != 1 {
		t.Errorf("%d frames were taken where the packet before the chain fits", n)
	}
	var d [64]Desc
	if n := k.Take(d[:]); n != 63 || d[62].Options != 0 {
		t.Errorf("the kernel sees %d frames", n)
	}
}

func TestSegments(t *testing.T) {
	for _, c := range []struct{ n, want int }{{60, 1}, {MaxPacket, 1}, {MaxPacket + 1, 2}, {MaxPacket + FrameSize, 2}, {9018, 3}, {65553, MaxSegments}} {
		if got := SegmentsFor(c.n); got != c.want {
			t.Errorf("%d bytes take %d frames, want %d", c.n, got, c.want)
		}
		if LongestIn(c.want) < c.n || c.want > 1 && LongestIn(c.want-1) >= c.n {
			t.Errorf("the longest packet in %d frames is %d bytes, and %d take as many", c.want, LongestIn(c.want), c.n)
		}
	}
}
