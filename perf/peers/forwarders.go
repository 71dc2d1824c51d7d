package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	asavie "github.com/asavie/xdp"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/ring"
)

// The names of this program's own forwarders, as commands that only it itself uses.
const (
	helperRing   = "forward-ring"
	helperAsavie = "forward-asavie"
)

const batch = 64

// idle is how long a forwarder sleeps for packets before it looks whether it shall end.
const idle = 100 * time.Millisecond

// swapMACs sends a packet back where it came from.
func swapMACs(b []byte) {
	if len(b) >= 12 {
		var m [6]byte
		copy(m[:], b[:6])
		copy(b[:6], b[6:12])
		copy(b[6:12], m[:])
	}
}

// forwardRing is the least that package ring can do: of one interface, packets go back; of two, they go to the other.
// Before the interfaces, -busy makes it never sleep.
func forwardRing(ctx context.Context, ifnames []string) (err error) {
	busy := len(ifnames) > 0 && ifnames[0] == "-busy"
	if busy {
		ifnames = ifnames[1:]
	}
	runtime.LockOSThread()
	if err := pin(forwarderCPU); err != nil {
		return err
	}
	count := len(ifnames)*ring.Sizes{}.FramesFor() + batch
	umem, err := ring.NewUMEM(ring.UMEMConfig{Frames: count, HugePages: numa.HugeAuto, Node: -1})
	if err != nil {
		return err
	}
	var sockets []*ring.Socket
	defer func() {
		for _, s := range sockets {
			err = errors.Join(err, s.Close())
		}
		err = errors.Join(err, umem.Close())
	}()
	for _, ifname := range ifnames {
		s, err := ring.Open(ring.Config{Interface: ifname, UMEM: umem, Bind: ring.BindCopy})
		if err != nil {
			return err
		}
		sockets = append(sockets, s)
		s.Refill(umem.Frames)
	}
	for i, ifname := range ifnames {
		detach, err := steerAll(ifname, sockets[i].FD())
		if err != nil {
			return err
		}
		defer detach()
	}
	poller, err := ring.NewPoller(sockets...)
	if err != nil {
		return err
	}
	defer poller.Close()

	frames := umem.Frames
	descs := make([]ring.Desc, batch)
	for ctx.Err() == nil {
		work := 0
		for i, from := range sockets {
			to := sockets[len(sockets)-1-i]
			n := from.Receive(descs)
			for _, d := range descs[:n] {
				swapMACs(frames.Bytes(d))
			}
			sent := to.Transmit(descs[:n])
			for _, d := range descs[sent:n] {
				frames.Put(d.Addr)
			}
			work += n + to.Outstanding()
			to.Kick()
			to.Complete(frames)
			from.Refill(frames)
		}
		if work == 0 && !busy {
			if _, err := poller.Wait(idle); err != nil {
				return err
			}
		}
	}
	return nil
}

// forwardAsavie is the same loop on asavie/xdp, as its own example l2fwd has it.
func forwardAsavie(ctx context.Context, ifname string) error {
	runtime.LockOSThread()
	if err := pin(forwarderCPU); err != nil {
		return err
	}
	i, err := net.InterfaceByName(ifname)
	if err != nil {
		return err
	}
	asavie.DefaultXdpFlags = unix.XDP_FLAGS_DRV_MODE
	program, err := asavie.NewProgram(1)
	if err != nil {
		return err
	}
	defer program.Close()
	if err := program.Attach(i.Index); err != nil {
		return err
	}
	s, err := asavie.NewSocket(i.Index, 0, &asavie.SocketOptions{
		NumFrames:              4 * ring.DefaultRingSize,
		FrameSize:              ring.FrameSize,
		FillRingNumDescs:       ring.DefaultRingSize,
		CompletionRingNumDescs: ring.DefaultRingSize,
		RxRingNumDescs:         ring.DefaultRingSize,
		TxRingNumDescs:         ring.DefaultRingSize,
	})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := program.Register(0, s.FD()); err != nil {
		return err
	}
	for ctx.Err() == nil {
		s.Fill(s.GetDescs(s.NumFreeFillSlots()))
		n, _, err := s.Poll(int(idle.Milliseconds()))
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		descs := s.Receive(min(n, batch))
		for _, d := range descs {
			swapMACs(s.GetFrame(d))
		}
		s.Transmit(descs)
	}
	return nil
}

// steerAll attaches a program that gives every packet of queue 0 to the socket, in driver mode.
func steerAll(ifname string, fd int) (detach func(), err error) {
	i, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Name: "peers_sockets", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("create the socket map: %w", err)
	}
	defer sockets.Close() // the program holds it
	if err := sockets.Put(uint32(0), uint32(fd)); err != nil {
		return nil, fmt.Errorf("enter the socket: %w", err)
	}
	const queueIndex = 16 // of xdp_md: rx_queue_index
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "peers_steer",
		Type: ebpf.XDP,
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, queueIndex, asm.Word),
			asm.LoadMapPtr(asm.R1, sockets.FD()),
			asm.Mov.Imm(asm.R3, xdpPass),
			asm.FnRedirectMap.Call(),
			asm.Return(),
		},
		License: "GPL",
	})
	if err != nil {
		return nil, fmt.Errorf("load the steering program: %w", err)
	}
	defer program.Close()
	l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: i.Index, Flags: link.XDPDriverMode})
	if err != nil {
		return nil, fmt.Errorf("attach to %s: %w", ifname, err)
	}
	return func() { l.Close() }, nil
}
