package ring_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/ring"
)

// inNamespace puts the test's thread into a network namespace of its own, which vanishes with the thread.
func inNamespace(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "needs root")
	}
	runtime.LockOSThread() // for ever: the thread ends with the test's goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		skip(t, "no network namespaces: "+err.Error())
	}
}

// skip skips, except on machines that are meant to run live tests.
func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("FASTLB_REQUIRE_E2E") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// veth makes a pair, up, with one queue each, and returns its interface indexes.
func veth(t testing.TB, name, peer string) (int, int) {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer}); err != nil {
		t.Fatal(err)
	}
	var index [2]int
	for i, n := range []string{name, peer} {
		l, err := netlink.LinkByName(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		index[i] = l.Attrs().Index
	}
	return index[0], index[1]
}

// redirectAll attaches a program to an interface that gives every packet to the queue's socket in the map it returns.
func redirectAll(t testing.TB, index int) *ebpf.Map {
	return redirectWith(t, index, 0, unix.XDP_FLAGS_DRV_MODE)
}

// redirectWith is redirectAll with a program of the given flags, attached in the given mode.
func redirectWith(t testing.TB, index int, program uint32, mode int) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Flags: program, License: "MIT", Instructions: asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Imm(asm.R3, 2), // XDP_PASS
		asm.FnRedirectMap.Call(),
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetXdpFdWithFlags(l, prog.FD(), mode); err != nil {
		t.Fatal(err)
	}
	return m
}

// wire is a raw socket on an interface: the far end of a veth.
func wire(t *testing.T, index int) int {
	t.Helper()
	proto := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 255})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index, Protocol: proto}); err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	return fd
}

// testFrame is an Ethernet frame of the experimental type, numbered.
func testFrame(n, size int) []byte {
	b := make([]byte, size)
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5})
	binary.BigEndian.PutUint32(b[14:], uint32(n))
	for i := 18; i < size; i++ {
		b[i] = byte(i * (n + 1))
	}
	return b
}

func newUMEM(t *testing.T, frames int) *ring.UMEM {
	t.Helper()
	u, err := ring.NewUMEM(ring.UMEMConfig{Frames: frames, HugePages: numa.HugeAuto, Node: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

func open(t *testing.T, cfg ring.Config) *ring.Socket {
	t.Helper()
	s, err := ring.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Real kernel, two interfaces, one UMEM: what comes in on a leaves by c, unchanged and in order, and no frame is lost.
func TestLiveForward(t *testing.T) {
	inNamespace(t)
	a, b := veth(t, "a", "b")
	c, d := veth(t, "c", "d")
	xsks := redirectAll(t, a)
	sizes := ring.Sizes{Fill: 512, Completion: 512, RX: 512, TX: 512}
	u := newUMEM(t, 2*sizes.FramesFor()+64)
	in := open(t, ring.Config{Interface: "a", Queue: 0, UMEM: u, Bind: ring.BindCopy, Sizes: sizes})
	out := open(t, ring.Config{Interface: "c", Index: c, Queue: 0, UMEM: u, Bind: ring.BindCopy, Sizes: sizes})
	if in.ZeroCopy() || out.ZeroCopy() {
		t.Error("asked for copy mode, the kernel says zero-copy")
	}
	t.Logf("TX budget raised: %v, pages: %v", in.BudgetRaised(), u.Pages)
	if err := xsks.Put(uint32(0), uint32(in.FD())); err != nil {
		t.Fatal(err)
	}
	f := u.Frames
	in.Refill(f)
	out.Refill(f)
	poller, err := ring.NewPoller(in, out)
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()

	const total, burst = 3000, 100
	src, dst := wire(t, b), wire(t, d)
	refilled, received, batch := sizes.Fill*2, 0, make([]ring.Desc, 64)
	step := func() {
		n := in.Receive(batch)
		received += n
		if sent := out.Transmit(batch[:n]); sent != n {
			t.Fatalf("transmitted %d of %d", sent, n)
		}
		out.Kick()
		in.Kick()
		in.Complete(f)
		out.Complete(f)
		refilled += in.Refill(f) + out.Refill(f)
	}
	sizeOf := func(n int) int { return 60 + n%1400 }
	buf := make([]byte, 4096)
	for sent, got := 0, 0; got < total; {
		for range burst {
			if _, err := unix.Write(src, testFrame(sent, sizeOf(sent))); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		for received < sent {
			if n, err := poller.Wait(5 * time.Second); err != nil || n != 1 {
				t.Fatalf("poll: %d sockets, %v; received %d of %d", n, err, received, sent)
			}
			step()
		}
		for ; got < sent; got++ {
			n := readFrame(t, dst, buf, step)
			if want := testFrame(got, sizeOf(got)); !bytes.Equal(buf[:n], want) {
				t.Fatalf("frame %d: %d bytes differ from the %d sent", got, n, len(want))
			}
		}
	}
	for deadline := time.Now().Add(5 * time.Second); out.Outstanding() != 0 && time.Now().Before(deadline); {
		step()
	}
	if out.Outstanding() != 0 {
		t.Errorf("%d transmissions never completed", out.Outstanding())
	}
	// Free, or given to a fill ring and not come back as a packet: every frame once.
	if sum := f.Len() + refilled - received; sum != f.Cap() {
		t.Errorf("%d free + %d refilled - %d received is %d of %d frames", f.Len(), refilled, received, sum, f.Cap())
	}
	st, err := in.Statistics()
	st.TXRingEmpty = 0 // nothing was sent there
	if err != nil || st != (ring.Statistics{}) {
		t.Errorf("statistics %+v, %v", st, err)
	}
}

// readFrame reads the next of our frames from a raw socket; the kernel's own (neighbour discovery) are skipped.
func readFrame(t *testing.T, fd int, buf []byte, step func()) int {
	t.Helper()
	for {
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatalf("the frame did not arrive: %v", err)
		}
		step()
		if n >= 14 && buf[12] == 0x88 && buf[13] == 0xb5 {
			return n
		}
	}
}

func TestLiveErrors(t *testing.T) {
	inNamespace(t)
	veth(t, "a", "b")
	u := newUMEM(t, 512)
	cfg := ring.Config{Interface: "a", UMEM: u, Bind: ring.BindCopy, Sizes: ring.Sizes{Fill: 64, Completion: 64, RX: 64, TX: 64}}
	before := openFiles(t)
	for _, c := range []struct {
		name   string
		change func(*ring.Config)
		want   error
	}{
		{"no interface", func(c *ring.Config) { c.Interface = "nosuch" }, ring.ErrNoInterface},
		{"no interface index", func(c *ring.Config) { c.Index = 9999 }, ring.ErrNoInterface},
		{"no queue", func(c *ring.Config) { c.Queue = 99 }, ring.ErrNoQueue},
		{"zero-copy on veth", func(c *ring.Config) { c.Bind = ring.BindZeroCopy }, ring.ErrNotSupported},
	} {
		bad := cfg
		c.change(&bad)
		s, err := ring.Open(bad)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if s != nil {
			t.Errorf("%s: a socket beside an error", c.name)
		}
	}
	if after := openFiles(t); !slices.Equal(before, after) {
		t.Errorf("open files before %v, after failures %v", before, after)
	}
	open(t, cfg)
	other := cfg
	other.UMEM = newUMEM(t, 512)
	if _, err := ring.Open(other); !errors.Is(err, ring.ErrQueueBusy) || !errors.Is(err, unix.EBUSY) {
		t.Errorf("queue bound twice: %v", err)
	}
	if err := u.Close(); err == nil {
		t.Error("UMEM closed under an open socket")
	}
}

func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if to != "" && !bytes.Contains([]byte(to), []byte("/proc/")) {
			out = append(out, e.Name()+" "+to)
		}
	}
	return out
}

func TestLivePollerWakes(t *testing.T) {
	inNamespace(t)
	veth(t, "a", "b")
	s := open(t, ring.Config{Interface: "a", UMEM: newUMEM(t, 512), Bind: ring.BindCopy})
	p, err := ring.NewPoller(s)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if n, err := p.Wait(0); n != 0 || err != nil {
		t.Errorf("nothing there: %d, %v", n, err)
	}
	woken := make(chan error)
	go func() { woken <- p.Wake() }()
	if n, err := p.Wait(-1); n != 0 || err != nil {
		t.Errorf("woken: %d, %v", n, err)
	}
	if err := <-woken; err != nil {
		t.Error(err)
	}
	if n, err := p.Wait(0); n != 0 || err != nil {
		t.Errorf("a wake was kept: %d, %v", n, err)
	}
	if n := testing.AllocsPerRun(100, func() { p.Wait(0); s.Kick() }); n != 0 {
		t.Errorf("Wait and Kick allocate %v times", n)
	}
}
