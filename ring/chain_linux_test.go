package ring_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/ring"
)

// bpfXDPHasFrags is BPF_F_XDP_HAS_FRAGS of linux/bpf.h.
const bpfXDPHasFrags = 1 << 5

func setMTU(t *testing.T, mtu int, indexes ...int) {
	t.Helper()
	for _, i := range indexes {
		l, err := netlink.LinkByIndex(i)
		if err == nil {
			err = netlink.LinkSetMTU(l, mtu)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Real kernel, MTU 9000, one UMEM: packets in several frames come in on a and leave by c as they are, among short ones and
// in order, whether the program runs in the driver or in the stack. Only the first socket's bind says XDP_USE_SG.
func TestLiveLargePackets(t *testing.T) {
	for name, mode := range map[string]int{"native": unix.XDP_FLAGS_DRV_MODE, "generic": unix.XDP_FLAGS_SKB_MODE} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			if ok, err := ring.SegmentsSupported(); err != nil || !ok {
				skip(t, "no XDP_USE_SG in this kernel")
			}
			a, b := veth(t, "a", "b")
			c, d := veth(t, "c", "d")
			setMTU(t, 9000, a, b, c, d)
			xsks := redirectWith(t, a, bpfXDPHasFrags, mode)
			sizes := ring.Sizes{Fill: 512, Completion: 512, RX: 512, TX: 512}
			u := newUMEM(t, 2*sizes.FramesFor()+64)
			in := open(t, ring.Config{Interface: "a", UMEM: u, Bind: ring.BindCopy, Sizes: sizes, Segments: true})
			out := open(t, ring.Config{Interface: "c", UMEM: u, Bind: ring.BindCopy, Sizes: sizes})
			if !in.Segments() || !out.Segments() {
				t.Fatal("the sockets do not keep packets of several frames together")
			}
			if err := xsks.Put(uint32(0), uint32(in.FD())); err != nil {
				t.Fatal(err)
			}
			f := u.Frames
			in.Refill(f)
			out.Refill(f)
			src, dst := wire(t, b), wire(t, d)
			sizeOf := func(n int) int { return []int{60, 9014, 3840, 3841, 1514, 8000, 7936, 7937}[n%8] }
			batch, buf, longest := make([]ring.Desc, ring.MaxChain), make([]byte, 16384), 0
			step := func() {
				n := in.Receive(batch)
				longest = max(longest, n)
				if sent := out.Transmit(batch[:n]); sent != n {
					t.Fatalf("transmitted %d of %d", sent, n)
				}
				out.Kick()
				in.Kick()
				out.Complete(f)
				in.Refill(f)
				out.Refill(f)
			}
			const total, burst = 800, 40
			for got := 0; got < total; {
				for n := got; n < got+burst; n++ {
					if _, err := unix.Write(src, testFrame(n, sizeOf(n))); err != nil {
						t.Fatal(err)
					}
				}
				for end := got + burst; got < end; got++ {
					n := readStepping(t, dst, buf, step)
					if want := testFrame(got, sizeOf(got)); !bytes.Equal(buf[:n], want) {
						t.Fatalf("frame %d: %d bytes differ from the %d sent", got, n, len(want))
					}
				}
			}
			if longest < 3 {
				t.Errorf("no packet lay in several frames: at most %d descriptors in a batch", longest)
			}
			for deadline := time.Now().Add(5 * time.Second); out.Outstanding() != 0 && time.Now().Before(deadline); {
				step()
			}
			if out.Outstanding() != 0 {
				t.Errorf("%d transmissions never completed", out.Outstanding())
			}
			if st, err := in.Statistics(); err != nil || st.RXDropped+st.RXInvalidDescs+st.RXRingFull != 0 {
				t.Errorf("statistics %+v, %v", st, err)
			}
		})
	}
}

// readStepping is readFrame for a receiver that the step feeds.
func readStepping(t *testing.T, fd int, buf []byte, step func()) int {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		step()
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err == nil && n >= 14 && buf[12] == 0x88 && buf[13] == 0xb5 {
			return n
		}
	}
	t.Fatal("the frame did not arrive")
	return 0
}
