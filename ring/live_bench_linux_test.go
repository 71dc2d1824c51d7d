package ring_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/ring"
)

// BenchmarkLiveForward sends back what comes in on one veth queue, MAC addresses swapped: the least that anything on this
// package can do. On veth the kernel's copy-mode transmission is most of it. The generator is BPF_PROG_TEST_RUN with live
// frames, redirected into the far end; it offers more than can be taken.
func BenchmarkLiveForward(b *testing.B) {
	inNamespace(b)
	near, far := veth(b, "a", "b")
	xsks := redirectAll(b, near)
	generator, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "MIT", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(far)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer generator.Close()
	u, err := ring.NewUMEM(ring.UMEMConfig{Frames: ring.Sizes{}.FramesFor() + 64, Node: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer u.Close()
	s, err := ring.Open(ring.Config{Interface: "a", Index: near, UMEM: u, Bind: ring.BindCopy})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := xsks.Put(uint32(0), uint32(s.FD())); err != nil {
		b.Fatal(err)
	}
	namespace, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(namespace)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the program redirects by interface number: only ever run it in our namespace
		if err := unix.Setns(namespace, unix.CLONE_NEWNET); err != nil {
			ended <- err
			return
		}
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			_, err := generator.Run(&ebpf.RunOptions{Data: testFrame(1, 64), Repeat: 1 << 20, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	d, f := make([]ring.Desc, 64), u.Frames
	s.Refill(f)
	forwarded := 0
	start, cpu := time.Now(), cpuTime(b)
	for b.Loop() { // one iteration goes round until something was sent
		for done := 0; done == 0; forwarded += done {
			n := s.Receive(d)
			for i := range n {
				p := f.Bytes(d[i])
				for j := range 6 {
					p[j], p[j+6] = p[j+6], p[j]
				}
			}
			for _, left := range d[s.Transmit(d[:n]):n] {
				f.Put(left.Addr)
			}
			s.Kick()
			done = s.Complete(f)
			s.Refill(f)
			select {
			case err := <-ended:
				b.Fatalf("the generator ended: %v", err)
			default:
			}
		}
	}
	b.ReportMetric(float64(forwarded)/time.Since(start).Seconds()/1e6, "Mpps")
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(forwarded), "cpu-ns/packet")
	close(stop)
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// cpuTime is what the calling thread has used, user and system, in nanoseconds: it does not depend on what else runs.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
