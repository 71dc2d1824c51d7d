package xdp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/ring"
)

// inNamespace puts the test's thread into a network namespace of its own, which vanishes with the thread.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "needs root")
	}
	runtime.LockOSThread() // for ever: the thread ends with the test's goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		skip(t, "no network namespaces: "+err.Error())
	}
}

// veth makes a pair, up, with queues RX and TX queues on its first end, and returns that and the peer's index.
func veth(t *testing.T, name, peer string, queues int) (Interface, int) {
	t.Helper()
	la := netlink.LinkAttrs{Name: name, NumTxQueues: queues, NumRxQueues: queues}
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: la, PeerName: peer}); err != nil {
		t.Fatal(err)
	}
	ifc := Interface{Name: name, Queues: queues}
	var far int
	for _, n := range []string{name, peer} {
		l, err := netlink.LinkByName(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		if n == name {
			ifc.Index, ifc.MACs = l.Attrs().Index, [][6]byte{[6]byte(l.Attrs().HardwareAddr)}
		} else {
			far = l.Attrs().Index
		}
	}
	return ifc, far
}

// attachedID is the id of the program on an interface, 0: none; and in which mode.
func attachedID(t *testing.T, index int) (uint32, Mode) {
	t.Helper()
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		t.Fatal(err)
	}
	x := l.Attrs().Xdp
	if x == nil || !x.Attached {
		return 0, 0
	}
	return x.ProgId, map[uint32]Mode{attachedNative: Native, attachedGeneric: Generic}[x.AttachMode]
}

func TestLiveAttachAndDetach(t *testing.T) {
	inNamespace(t)
	ifc, _ := veth(t, "a", "b", 2)
	for _, mode := range []Mode{Native, Generic} {
		p := load(t)
		a, err := p.Attach(ifc, mode)
		if err != nil {
			t.Fatal(err)
		}
		if id, got := attachedID(t, ifc.Index); id == 0 || got != mode || a.Mode() != mode {
			t.Errorf("%v: program %d in %v mode", mode, id, got)
		}
		if _, err := load(t).Attach(ifc, mode); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
			t.Errorf("%v: attached twice: %v", mode, err)
		}
		if err := a.Detach(); err != nil {
			t.Error(err)
		}
		if id, _ := attachedID(t, ifc.Index); id != 0 {
			t.Errorf("%v: program %d is left after Detach", mode, id)
		}
		var k steerInterfaceKey
		if err := p.objects.Interfaces.NextKey(nil, &k); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("%v: an interface is left in the map: %v", mode, err)
		}
	}
}

func TestLiveAttachErrors(t *testing.T) {
	inNamespace(t)
	ifc, _ := veth(t, "a", "b", 1)
	p := load(t)
	if _, err := p.Attach(Interface{Name: "x", Index: 999, Queues: 1}, Native); !errors.Is(err, ErrNoInterface) {
		t.Errorf("no interface: %v", err)
	}
	lo := testInterface(t)
	if _, err := p.Attach(lo, Native); !errors.Is(err, ErrNotSupported) {
		t.Errorf("native mode on lo: %v", err)
	}
	if _, err := p.Attach(Interface{Name: "a", Index: ifc.Index, Queues: 5000}, Native); err == nil {
		t.Error("more queues than the map has room for")
	}
	foreign := passAll(t, "somebody")
	l, err := netlink.LinkByIndex(ifc.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetXdpFdWithFlags(l, foreign.FD(), unix.XDP_FLAGS_DRV_MODE); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Attach(ifc, Native); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), `"somebody"`) {
		t.Errorf("foreign program: %v", err)
	}
	if err := netlink.LinkSetXdpFdWithFlags(l, -1, unix.XDP_FLAGS_DRV_MODE); err != nil {
		t.Fatal(err)
	}
	bl, err := link.AttachXDP(link.XDPOptions{Program: foreign, Interface: ifc.Index})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Attach(ifc, Native); !errors.Is(err, ErrForeign) {
		t.Errorf("foreign bpf_link: %v", err)
	}
	bl.Close()
	a, err := p.Attach(ifc, Native)
	if err != nil {
		t.Fatalf("nothing is in the way any more: %v", err)
	}
	if err := netlink.LinkSetXdpFdWithFlags(l, foreign.FD(), unix.XDP_FLAGS_DRV_MODE); err != nil {
		t.Fatal(err)
	}
	if err := a.Detach(); !errors.Is(err, ErrForeign) {
		t.Errorf("detach of what somebody replaced: %v", err)
	}
	if id, _ := attachedID(t, ifc.Index); id == 0 {
		t.Error("the replacement was detached")
	}
}

func passAll(t *testing.T, name string) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.XDP, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// A director that is killed leaves its program on the interface, where it drops what it would take; the next one takes
// over, in the same mode or another.
func TestLiveKilled(t *testing.T) {
	if name := os.Getenv("FASTLB_TEST_ATTACH"); name != "" {
		attachAndWait(t, name) // the child that is killed
		return
	}
	inNamespace(t)
	for i, next := range []Mode{Native, Generic} {
		ifc, _ := veth(t, fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i), 1)
		child := exec.Command(os.Args[0], "-test.run=^TestLiveKilled$", "-test.v")
		child.Env = append(os.Environ(), "FASTLB_TEST_ATTACH="+ifc.Name)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for sc := bufio.NewScanner(out); sc.Scan() && sc.Text() != "attached"; {
		}
		if _, err := load(t).Attach(ifc, next); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(child.Process.Pid)) {
			t.Errorf("attached beside a living director: %v", err)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // says that it was killed
		left, mode := attachedID(t, ifc.Index)
		if left == 0 || mode != Native {
			t.Fatalf("the killed director left program %d in %v mode", left, mode)
		}
		p := load(t)
		a, err := p.Attach(ifc, next)
		if err != nil {
			t.Fatal(err)
		}
		if id, mode := attachedID(t, ifc.Index); id == 0 || id == left || mode != next {
			t.Errorf("program %d in %v mode, after %d was left", id, mode, left)
		}
		if err := a.Detach(); err != nil {
			t.Error(err)
		}
		if id, _ := attachedID(t, ifc.Index); id != 0 {
			t.Errorf("program %d is left after Detach", id)
		}
	}
}

func attachAndWait(t *testing.T, name string) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	p := load(t)
	if _, err := p.Attach(Interface{Name: name, Index: l.Attrs().Index, Queues: 1}, Native); err != nil {
		t.Fatal(err)
	}
	fmt.Println("attached")
	select {}
}

// rawSocket is the far end of a veth, or a look at what the kernel gets on the near one.
func rawSocket(t *testing.T, index int) int {
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
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// The program with real sockets: what is ours arrives at the socket and not at the kernel, what is not arrives at the
// kernel and not at the socket; in both modes.
func TestLiveSteer(t *testing.T) {
	for _, mode := range []Mode{Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) {
			inNamespace(t)
			ifc, far := veth(t, "a", "b", 1)
			p := load(t)
			if _, err := p.Update(testRules()); err != nil {
				t.Fatal(err)
			}
			u, err := ring.NewUMEM(ring.UMEMConfig{Frames: 1024, Node: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			a, err := p.Attach(ifc, mode)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Detach()
			s, err := ring.Open(ring.Config{Interface: "a", Index: ifc.Index, UMEM: u, Bind: ring.BindCopy,
				Sizes: ring.Sizes{Fill: 256, Completion: 256, RX: 256, TX: 256}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := a.SetSocket(0, s.FD()); err != nil {
				t.Fatal(err)
			}
			if err := a.SetSocket(1, s.FD()); err == nil {
				t.Error("a socket for a queue that is not there")
			}
			s.Refill(u.Frames)
			wire, kernel := rawSocket(t, far), rawSocket(t, ifc.Index)
			ours := frameTo(ifc.MACs[0], ip4(client, vip, tcp, ports(1025, 80)))
			theirs := frameTo(ifc.MACs[0], ip4(client, vip, tcp, ports(1025, 81)))
			for _, b := range [][]byte{ours, theirs} {
				if _, err := unix.Write(wire, b); err != nil {
					t.Fatal(err)
				}
			}
			d := make([]ring.Desc, 8)
			if n := receive(t, s, d); n != 1 || !bytes.Equal(u.Frames.Bytes(d[0]), ours) {
				t.Errorf("the socket got %d packets", n)
			}
			buf := make([]byte, 2048)
			for {
				n, err := unix.Read(kernel, buf)
				if err != nil {
					t.Fatalf("the kernel did not get its packet: %v", err)
				}
				if bytes.Equal(buf[:n], ours) {
					t.Error("the kernel got our packet too")
				}
				if bytes.Equal(buf[:n], theirs) {
					break
				}
			}
			// An interface that cannot be attached leaves the others' sockets alone.
			other, _ := veth(t, "c", "d", 1)
			other.Queues = 5000
			if _, err := p.Attach(other, mode); err == nil {
				t.Error("more queues than the map has room for")
			}
			// New rules at once: now the other one is ours.
			r := testRules()
			r.AddService(6, mustAddr(vip), 81)
			if c, err := p.Update(r); err != nil || c != (Changes{Added: 1}) {
				t.Errorf("update: %+v, %v", c, err)
			}
			if _, err := unix.Write(wire, theirs); err != nil {
				t.Fatal(err)
			}
			if n := receive(t, s, d); n != 1 || !bytes.Equal(u.Frames.Bytes(d[0]), theirs) {
				t.Errorf("after the update the socket got %d packets", n)
			}
		})
	}
}

// receive waits for packets, at most five seconds.
func receive(t *testing.T, s *ring.Socket, d []ring.Desc) int {
	t.Helper()
	p, err := ring.NewPoller(s)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Wait(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	return s.Receive(d)
}

// Interfaces get shares of the XSK map that do not overlap, and shares that were given back are used again.
func TestLiveShares(t *testing.T) {
	inNamespace(t)
	p := load(t)
	var attached []*Attachment
	for i, queues := range []int{3, 2, 4} {
		ifc, _ := veth(t, fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i), queues)
		a, err := p.Attach(ifc, Generic)
		if err != nil {
			t.Fatal(err)
		}
		attached = append(attached, a)
	}
	if got := []uint32{attached[0].base, attached[1].base, attached[2].base}; got[0] != 0 || got[1] != 3 || got[2] != 5 {
		t.Errorf("shares begin at %v", got)
	}
	if err := attached[1].Detach(); err != nil {
		t.Fatal(err)
	}
	for queues, want := range map[int]uint32{2: 3, 1: 3, 3: 9} {
		if got, err := p.reserve(queues); err != nil || got != want {
			t.Errorf("%d queues would begin at %d, want %d: %v", queues, got, want, err)
		}
	}
	for _, bad := range []int{0, -1, 4097 - 9} {
		if _, err := p.reserve(bad); err == nil {
			t.Errorf("%d queues were accepted", bad)
		}
	}
	for _, a := range []*Attachment{attached[0], attached[2]} {
		if err := a.Detach(); err != nil {
			t.Error(err)
		}
	}
}
