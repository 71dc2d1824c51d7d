package ring_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/ring"
)

// What a real kernel does with busy polling: once a packet has come, the queue is polled by our calls and by nothing else
// as long as the interface holds its interrupts off. Where the kernel does not know what to poll (a veth of Linux 6.13 and
// newer), everything goes on by interrupts, and no call is made in vain.
func TestLiveBusyPoll(t *testing.T) {
	inNamespace(t)
	mountSys(t)
	a, b := veth(t, "a", "b")
	xsks := redirectAll(t, a)
	u := newUMEM(t, 2048)
	sizes := ring.Sizes{Fill: 512, Completion: 512, RX: 512, TX: 512}
	s := open(t, ring.Config{Interface: "a", UMEM: u, Bind: ring.BindCopy, Sizes: sizes,
		BusyPoll: ring.BusyPoll{Time: 20 * time.Microsecond, Budget: 64, Prefer: true}})
	if err := s.BusyPollRefused(); err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{unix.SO_PREFER_BUSY_POLL: 1, unix.SO_BUSY_POLL: 20} {
		if got, err := unix.GetsockoptInt(s.FD(), unix.SOL_SOCKET, option); err != nil || got != want {
			t.Errorf("socket option %d is %d, %v; want %d", option, got, err, want)
		}
	}
	if err := xsks.Put(uint32(0), uint32(s.FD())); err != nil {
		t.Fatal(err)
	}
	f := u.Frames
	s.Refill(f)
	s.Kick()
	if n := s.Counters().RXWakeups.Load(); n != 0 {
		t.Errorf("%d polls of a queue that nobody knows yet", n)
	}
	src := wire(t, b)
	next := 0
	send := func(n int) {
		for range n {
			if _, err := unix.Write(src, testFrame(next, 60)); err != nil {
				t.Fatal(err)
			}
			next++
		}
	}
	batch := make([]ring.Desc, 64)
	receive := func() int {
		n := s.Receive(batch)
		for _, d := range batch[:n] {
			f.Put(d.Addr)
		}
		s.Refill(f)
		return n
	}
	p, err := ring.NewPoller(s)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	send(1)
	if n, err := p.Wait(5 * time.Second); n != 1 || err != nil || receive() == 0 {
		t.Fatalf("the first packet comes by interrupt: %d, %v", n, err)
	}
	if s.Counters().NAPI.Load() == ring.NoNAPI {
		t.Log("the kernel does not say what polls the queue of a veth")
		for range 10 {
			send(1)
			if n, err := p.Wait(5 * time.Second); n != 1 || err != nil || receive() == 0 {
				t.Fatalf("a packet by interrupt: %d, %v", n, err)
			}
			s.Kick()
		}
		if n := s.Counters().RXWakeups.Load(); n != 0 {
			t.Errorf("%d polls of nothing", n)
		}
		return
	}
	// Hold the interrupts off for longer than the test takes.
	for name, v := range map[string]string{"gro_flush_timeout": "60000000000", "napi_defer_hard_irqs": "100"} {
		if err := os.WriteFile("/sys/class/net/a/"+name, []byte(v), 0); err != nil {
			t.Fatal(err)
		}
	}
	for s.Kick(); receive() > 0; s.Kick() { // the kernel's own packets, if any; it arms the timer
	}
	send(1) // this one may come by interrupt still, and holds them off
	for deadline := time.Now().Add(5 * time.Second); receive() == 0; s.Kick() {
		if time.Now().After(deadline) {
			t.Fatal("polling brings nothing")
		}
	}
	for range 10 {
		send(32)
		if n := receive(); n != 0 {
			t.Fatalf("%d packets came without a poll", n)
		}
		s.Kick()
		if n := receive(); n != 32 {
			t.Fatalf("one poll brought %d of 32 packets", n)
		}
	}
	if c := s.Counters(); c.TXWakeups.Load() != 0 || c.WakeFailed.Load() != 0 {
		t.Errorf("%d sends, %d failures", c.TXWakeups.Load(), c.WakeFailed.Load())
	}
}

// mountSys shows the thread the interfaces of its own network namespace in /sys, and nobody else.
func mountSys(t *testing.T) {
	t.Helper()
	for _, err := range []error{
		unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS), unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""), unix.Mount("sysfs", "/sys", "sysfs", 0, ""),
	} {
		if err != nil {
			skip(t, "no mount namespaces: "+err.Error())
		}
	}
	if b, err := os.ReadFile("/proc/thread-self/mountinfo"); err != nil || !strings.Contains(string(b), " /sys ") {
		t.Fatal("no /sys: ", err)
	}
}
