package ring_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/ring/ringtest"
)

func newSocket(t *testing.T, frames int, sizes ring.Sizes) (*ring.Frames, *ring.Socket, *ringtest.Kernel) {
	t.Helper()
	f := ring.NewFrames(make([]byte, frames*ring.FrameSize))
	s, k, err := ringtest.New(f, sizes)
	if err != nil {
		t.Fatal(err)
	}
	return f, s, k
}

func census(t *testing.T, f *ring.Frames, s *ring.Socket, k *ringtest.Kernel, held ...uint64) {
	t.Helper()
	if err := ringtest.Census(f, held, []*ring.Socket{s}, []*ringtest.Kernel{k}); err != nil {
		t.Error(err)
	}
}

func packetNumber(i int) []byte { return fmt.Appendf(nil, "packet %d", i) }

// One round trip: fill → RX → worker → TX → completion → free.
func TestSocketRound(t *testing.T) {
	f, s, k := newSocket(t, 16, ring.Sizes{Fill: 8, Completion: 8, RX: 8, TX: 8})
	if n := s.Refill(f); n != 8 || f.Len() != 8 {
		t.Fatalf("refilled %d, %d left", n, f.Len())
	}
	if n := s.Refill(f); n != 0 {
		t.Fatalf("refilled %d into a full ring", n)
	}
	k.Inject(packetNumber(0), packetNumber(1), packetNumber(2))
	d := make([]ring.Desc, 64)
	if n := s.Receive(d); n != 3 {
		t.Fatalf("received %d", n)
	}
	for i := range 3 {
		if got := f.Bytes(d[i]); !bytes.Equal(got, packetNumber(i)) || cap(got) != ring.MaxPacket {
			t.Fatalf("packet %d is %q, capacity %d", i, got, cap(got))
		}
	}
	f.Put(d[1].Addr) // dropped
	d[1] = d[2]
	if n := s.Transmit(d[:2]); n != 2 || s.Outstanding() != 2 {
		t.Fatalf("transmitted %d, outstanding %d", n, s.Outstanding())
	}
	if n := s.Complete(f); n != 0 {
		t.Fatalf("completed %d before anything was sent", n)
	}
	sent := k.Send()
	if len(sent) != 2 || !bytes.Equal(sent[0], packetNumber(0)) || !bytes.Equal(sent[1], packetNumber(2)) {
		t.Fatalf("sent %q", sent)
	}
	if n := s.Complete(f); n != 2 || s.Outstanding() != 0 {
		t.Fatalf("completed %d, outstanding %d", n, s.Outstanding())
	}
	if n := s.Refill(f); n != 8 { // the kernel took all eight off the ring
		t.Fatalf("refilled %d", n)
	}
	census(t, f, s, k)
}

func TestSocketFillStarvation(t *testing.T) {
	f, s, k := newSocket(t, 4, ring.Sizes{Fill: 8, Completion: 8, RX: 8, TX: 8})
	if n := s.Refill(f); n != 4 || s.Counters().FillStarved.Load() != 1 {
		t.Fatalf("refilled %d, starved %d", n, s.Counters().FillStarved.Load())
	}
	k.Starve = true
	if k.Inject(packetNumber(0)) != 0 || k.Dropped != 1 {
		t.Fatal("a starving kernel received")
	}
	k.Starve = false
	for i := range 6 {
		k.Inject(packetNumber(i))
	}
	if k.Dropped != 3 { // four frames, six packets, and the one before
		t.Fatalf("dropped %d", k.Dropped)
	}
	census(t, f, s, k)
}

func TestSocketTXFullAndPartial(t *testing.T) {
	f, s, k := newSocket(t, 16, ring.Sizes{Fill: 8, Completion: 8, RX: 8, TX: 4})
	var held []ring.Desc
	for range 6 {
		addr, _ := f.Get()
		held = append(held, ring.Desc{Addr: addr + ring.Headroom, Len: 60})
	}
	if n := s.Transmit(held); n != 4 || s.Counters().TXFull.Load() != 2 {
		t.Fatalf("transmitted %d, full %d", n, s.Counters().TXFull.Load())
	}
	held = held[4:]
	k.MaxSend = 1
	if len(k.Send()) != 1 || s.Transmit(held) != 0 {
		t.Fatal("a frame that is not complete was not counted as outstanding")
	}
	s.Complete(f)
	if n := s.Transmit(held); n != 1 {
		t.Fatalf("transmitted %d after one completion", n)
	}
	k.MaxSend, k.NoCompletions = 0, true
	if n := len(k.Send()); n != 4 {
		t.Fatalf("kernel sent %d", n)
	}
	if s.Complete(f) != 0 || s.Transmit(held[1:]) != 0 || s.Outstanding() != 4 {
		t.Fatal("frames that the kernel kept were used again")
	}
	census(t, f, s, k, held[1].Addr)
}

func TestSocketStaleIndexes(t *testing.T) {
	f, s, k := newSocket(t, 16, ring.Sizes{Fill: 4, Completion: 4, RX: 4, TX: 4})
	s.Refill(f)
	k.Withhold(true)
	k.Inject(packetNumber(0), packetNumber(1))
	d := make([]ring.Desc, 8)
	if s.Receive(d) != 0 || s.Refill(f) != 0 {
		t.Fatal("saw what the kernel had not shown")
	}
	k.Withhold(false)
	if n := s.Receive(d); n != 2 {
		t.Fatalf("received %d", n)
	}
	k.Withhold(true)
	s.Transmit(d[:2])
	k.Send()
	if s.Complete(f) != 0 {
		t.Fatal("completed what the kernel had not shown")
	}
	k.Withhold(false)
	if n := s.Complete(f); n != 2 {
		t.Fatalf("completed %d", n)
	}
	census(t, f, s, k)
}

func TestSocketKick(t *testing.T) {
	f, s, k := newSocket(t, 8, ring.Sizes{Fill: 4, Completion: 4, RX: 4, TX: 4})
	s.Kick()
	k.NeedWakeup(true, false)
	s.Kick()
	if k.WakesTX != 0 || k.WakesRX != 0 {
		t.Fatal("kicked with nothing to do")
	}
	addr, _ := f.Get()
	s.Transmit([]ring.Desc{{Addr: addr, Len: 60}})
	k.WakeErrors = []ring.Wake{ring.WakeAgain, ring.WakeBusy, ring.WakeNoBufs, ring.WakeNetDown, ring.WakeFailed}
	for range 7 { // nothing new is submitted, but a completion is outstanding
		s.Kick()
	}
	c := s.Counters()
	if k.WakesTX != 7 || c.TXWakeups.Load() != 7 {
		t.Fatalf("woke %d times, counted %d", k.WakesTX, c.TXWakeups.Load())
	}
	for i, n := range []uint64{c.Again.Load(), c.Busy.Load(), c.NoBufs.Load(), c.NetDown.Load(), c.WakeFailed.Load()} {
		if n != 1 {
			t.Errorf("error %d was counted %d times", i, n)
		}
	}
	k.Send()
	s.Complete(f)
	k.NeedWakeup(true, true)
	s.Kick()
	if k.WakesTX != 7 || k.WakesRX != 1 {
		t.Fatalf("woke TX %d, RX %d times", k.WakesTX, k.WakesRX)
	}
	census(t, f, s, k)
}

// Two interfaces of one worker, a kernel in a bad mood, thousands of random steps: order kept, frames conserved.
func TestSocketsConserveFrames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sizes := ring.Sizes{Fill: 16, Completion: 16, RX: 16, TX: 16}
	f := ring.NewFrames(make([]byte, (2*sizes.FramesFor()+8)*ring.FrameSize))
	var s [2]*ring.Socket
	var k [2]*ringtest.Kernel
	for i := range s {
		var err error
		if s[i], k[i], err = ringtest.New(f, sizes); err != nil {
			t.Fatal(err)
		}
	}
	in, out := 0, -1
	d := make([]ring.Desc, 8)
	for range 20_000 {
		for i := range s {
			k[i].Withhold(r.IntN(4) == 0)
			k[i].NoCompletions = r.IntN(3) == 0
			k[i].Starve = r.IntN(8) == 0
			k[i].MaxSend = r.IntN(5)
		}
		for range r.IntN(12) {
			k[0].Inject(packetNumber(in))
			in++
		}
		n := s[0].Receive(d[:1+r.IntN(len(d))])
		sent := s[1].Transmit(d[:n])
		for _, left := range d[sent:n] {
			f.Put(left.Addr)
		}
		for _, p := range k[1].Send() {
			var number int
			if _, err := fmt.Sscanf(string(p), "packet %d", &number); err != nil || number <= out {
				t.Fatalf("packet %q after number %d", p, out)
			}
			out = number
		}
		for i := range s {
			s[i].Complete(f)
			s[i].Refill(f)
			s[i].Kick()
		}
	}
	if out < 1000 || s[0].Counters().BadIndex.Load()+s[1].Counters().BadIndex.Load() != 0 {
		t.Errorf("forwarded up to packet %d only, or saw impossible indexes", out)
	}
	if err := ringtest.Census(f, nil, s[:], k[:]); err != nil {
		t.Error(err)
	}
}

// Socket and kernel in two goroutines on heap memory, for -race.
func TestSocketConcurrent(t *testing.T) {
	const total = 20_000
	f, s, k := newSocket(t, 64, ring.Sizes{Fill: 16, Completion: 16, RX: 16, TX: 16})
	mem := f.Mem
	var wg sync.WaitGroup
	wg.Go(func() {
		for in, out := 0, 0; out < total; {
			if in < total && k.Inject(packetNumber(in)) == 1 {
				in++
			}
			for _, p := range k.Send() {
				if !bytes.Equal(p, packetNumber(out)) {
					t.Errorf("got %q, want number %d", p, out)
					return
				}
				out++
			}
			runtime.Gosched()
		}
	})
	d := make([]ring.Desc, 7)
	for done := 0; done < total && !t.Failed(); {
		s.Refill(f)
		n := s.Receive(d)
		for _, x := range d[:n] {
			mem[x.Addr]++ // touch the packet in the worker's goroutine
			mem[x.Addr]--
		}
		for at := 0; at < n && !t.Failed(); {
			at += s.Transmit(d[at:n])
			done += s.Complete(f)
			s.Kick()
		}
		done += s.Complete(f)
		if n == 0 {
			runtime.Gosched()
		}
	}
	wg.Wait()
	census(t, f, s, k)
}

func TestFrames(t *testing.T) {
	f := ring.NewFrames(make([]byte, 3*ring.FrameSize))
	a, ok := f.Get()
	if !ok || a != 0 || f.Len() != 2 || f.Cap() != 3 {
		t.Fatal(a, ok, f.Len(), f.Cap())
	}
	f.Put(a + 300) // any address within the frame
	if b, _ := f.Get(); b != a {
		t.Errorf("got frame at %d", b)
	}
	f.Get()
	f.Get()
	if _, ok := f.Get(); ok {
		t.Error("a fourth frame of three")
	}
	for _, d := range []ring.Desc{
		{Addr: 3 * ring.FrameSize, Len: 1}, {Addr: 256, Len: ring.MaxPacket + 1}, {Addr: 0, Len: 1 << 31}, {Addr: 1<<64 - 1, Len: 4},
	} {
		if b := f.Bytes(d); b != nil {
			t.Errorf("Bytes(%+v) gave %d bytes", d, len(b))
		}
	}
	if b := f.Bytes(ring.Desc{Addr: ring.FrameSize + 256, Len: ring.MaxPacket}); len(b) != ring.MaxPacket || cap(b) != ring.MaxPacket {
		t.Errorf("%d bytes, capacity %d", len(b), cap(b))
	}
}

func TestNoAllocs(t *testing.T) {
	f, s, k, d, a := forwarder(t)
	if n := testing.AllocsPerRun(1000, func() { forward(f, s, k, d, a) }); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
}

func forwarder(t testing.TB) (*ring.Frames, *ring.Socket, *ring.Kernel, []ring.Desc, []uint64) {
	f := ring.NewFrames(make([]byte, 4096*ring.FrameSize))
	s, k, err := ring.NewMemory(f, ring.Sizes{})
	if err != nil {
		t.Fatal(err)
	}
	s.Refill(f)
	return f, s, k, make([]ring.Desc, 64), make([]uint64, 64)
}

// forward is one round of 64 packets, both halves.
func forward(f *ring.Frames, s *ring.Socket, k *ring.Kernel, d []ring.Desc, a []uint64) {
	k.Drain(a)
	for i, addr := range a {
		d[i] = ring.Desc{Addr: addr + ring.Headroom, Len: 60}
	}
	k.Give(d)
	n := s.Receive(d)
	s.Transmit(d[:n])
	s.Kick()
	k.Take(d)
	for i := range d {
		a[i] = d[i].Addr
	}
	k.Feed(a)
	s.Complete(f)
	s.Refill(f)
}

func BenchmarkSocket(b *testing.B) {
	f, s, k, d, a := forwarder(b)
	for b.Loop() {
		forward(f, s, k, d, a)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(d)), "ns/packet")
}
