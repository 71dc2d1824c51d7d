package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/lab"
)

// clientPorts is how many source ports the generator's packets come from: a power of two.
const clientPorts = 1024

// XDP's verdicts, and the offsets of the packet's pointers in its context (linux/bpf.h: xdp_action, xdp_md).
const (
	xdpAborted, xdpDrop, xdpPass = 0, 1, 2
	xdpData, xdpDataEnd          = 0, 4
)

// source puts packets on a veth.
type source struct {
	program   *ebpf.Program
	namespace string
	packet    []byte
}

// newSource loads the program that gives each packet a random source port and sends it out by the interface. It must be
// called in the interface's namespace.
func newSource(namespace string, out *net.Interface, packet []byte) (*source, error) {
	const sourcePort = 14 + 20
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "peers_source",
		Type: ebpf.XDP,
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R7, asm.R1, xdpData, asm.Word),
			asm.LoadMem(asm.R3, asm.R1, xdpDataEnd, asm.Word),
			asm.Mov.Reg(asm.R2, asm.R7),
			asm.Add.Imm(asm.R2, sourcePort+2),
			asm.JGT.Reg(asm.R2, asm.R3, "short"),
			asm.FnGetPrandomU32.Call(),
			asm.And.Imm(asm.R0, clientPorts-1),
			asm.Add.Imm(asm.R0, clientPorts),
			asm.HostTo(asm.BE, asm.R0, asm.Half),
			asm.StoreMem(asm.R7, sourcePort, asm.R0, asm.Half),
			asm.Mov.Imm(asm.R1, int32(out.Index)),
			asm.Mov.Imm(asm.R2, 0),
			asm.FnRedirect.Call(),
			asm.Return(),
			asm.Mov.Imm(asm.R0, xdpAborted).WithSymbol("short"),
			asm.Return(),
		},
		License: "GPL",
	})
	if err != nil {
		return nil, fmt.Errorf("load the generator: %w", err)
	}
	return &source{program, namespace, packet}, nil
}

// offer sends n packets as fast as it can, on the generator's CPU.
func (s *source) offer(n uint32) error {
	return lab.In(s.namespace, func() (err error) {
		var everywhere unix.CPUSet
		if err := unix.SchedGetaffinity(0, &everywhere); err != nil {
			return fmt.Errorf("read the CPU mask: %w", err)
		}
		if err := pin(generatorCPU); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &everywhere)) }()
		_, err = s.program.Run(&ebpf.RunOptions{Data: s.packet, Repeat: n, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
		if err != nil {
			return fmt.Errorf("BPF_PROG_TEST_RUN with live frames (Linux 5.18 and newer): %w", err)
		}
		return nil
	})
}

// sink counts and drops what comes back.
type sink struct {
	counters *ebpf.Map
	link     link.Link
}

// newSink attaches to an interface of the calling thread's namespace.
func newSink(in *net.Interface) (*sink, error) {
	counters, err := ebpf.NewMap(&ebpf.MapSpec{Name: "peers_sink", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("create the sink's counter: %w", err)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "peers_sink",
		Type: ebpf.XDP,
		Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, counters.FD()),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "drop"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
			asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("drop"),
			asm.Return(),
		},
		License: "GPL",
	})
	if err != nil {
		return nil, fmt.Errorf("load the sink: %w", err)
	}
	defer program.Close()
	l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: in.Index, Flags: link.XDPDriverMode})
	if err != nil {
		return nil, fmt.Errorf("attach the sink: %w", err)
	}
	return &sink{counters, l}, nil
}

func (s *sink) count() (uint64, error) {
	var each []uint64
	if err := s.counters.Lookup(uint32(0), &each); err != nil {
		return 0, fmt.Errorf("read the sink's counter: %w", err)
	}
	var sum uint64
	for _, n := range each {
		sum += n
	}
	return sum, nil
}

// datagram is the packet that everybody forwards: 60 bytes, UDP without checksum, to the virtual service.
func datagram(src, dst net.HardwareAddr, from netip.Addr, to netip.AddrPort) []byte {
	b := append(append([]byte{}, dst...), src...)
	b = append(b, 0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0)
	b = append(append(b, from.AsSlice()...), to.Addr().AsSlice()...)
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum&0xffff+sum>>16))
	b = binary.BigEndian.AppendUint16(b, clientPorts)
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = append(b, 0, 26, 0, 0)
	return append(b, make([]byte, 18)...)
}

// pin keeps the calling thread, which the caller has locked its goroutine to, on one CPU.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}
