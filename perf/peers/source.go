package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/lab"
)

// XDP's verdicts, and the offsets of the packet's pointers in its context (linux/bpf.h: xdp_action, xdp_md).
const (
	xdpAborted, xdpDrop, xdpPass = 0, 1, 2
	xdpData, xdpDataEnd          = 0, 4
)

// A packet: 60 bytes of UDP over IPv4. Its payload holds, for measuring latency, when it was due and when it was sent, in
// ns of the monotonic clock and this machine's byte order.
const (
	offMACLow   = 5 // last byte of the destination's address
	offIP       = 14
	offTTL      = offIP + 8 // … and protocol
	offIPSum    = offIP + 10
	offSource   = offIP + 12
	offDest     = offIP + 16
	offUDP      = offIP + 20
	offUDPSum   = offUDP + 6
	offDue      = offUDP + 8
	offSent     = offDue + 8
	packetBytes = 60
)

const hops = 64 // the packets' TTL

// Flow f comes from client clientBase + f/portsPerClient, port firstPort + f%portsPerClient.
const (
	portBits       = 14
	portsPerClient = 1 << portBits
	firstPort      = 1024
)

var clientBase = netip.MustParseAddr("198.18.0.0")

// plan is what a source sends.
type plan struct {
	flows      uint32 // a power of two: each packet belongs to one of them at random
	sequential bool   // … or to the next one, the flow's number growing without end
	replies    bool   // every other packet, as far as the flow's server is known, comes from that server
	stamps     bool   // with the time it was due and the time it was sent
}

// sourceClock is the source's own memory, shared with its program: the number of the next packet, and when packets are due.
type sourceClock struct {
	Next     uint64
	Start    uint64 // ns, monotonic
	Interval uint64 // ns
}

// source puts packets on one or two veths.
type source struct {
	program   *ebpf.Program
	held      link.Link // of the program to an interface that nothing comes in by
	clock     *ebpf.Map
	namespace string
	packet    []byte
}

// newSource loads the program that makes packets and sends them out by the interfaces outs: to the virtual service by
// the first, replies by the last. learnt, needed for replies, knows each flow's server. It must be called in the
// interfaces' namespace.
func newSource(namespace string, outs []*net.Interface, p plan, learnt *ebpf.Map) (*source, error) {
	var indexes []int
	for _, i := range outs {
		indexes = append(indexes, i.Index)
	}
	clock, err := ebpf.NewMap(&ebpf.MapSpec{Name: "peers_clock", Type: ebpf.Array, KeySize: 4, ValueSize: 24, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("create the generator's clock: %w", err)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "peers_source", Type: ebpf.XDP, License: "GPL", Instructions: sourceProgram(indexes, p, clock, learnt),
	})
	if err != nil {
		return nil, fmt.Errorf("load the generator: %w", errors.Join(err, clock.Close()))
	}
	s := &source{program: program, clock: clock, namespace: namespace, packet: template()}
	if s.held, err = hold(program, fmt.Sprintf("hold%d", holds.Add(1))); err != nil {
		return nil, errors.Join(err, program.Close(), clock.Close())
	}
	return s, nil
}

// holds numbers the interfaces that hold makes.
var holds atomic.Uint32

// hold attaches the program to an interface made for that: the kernel enters a program that is attached nowhere into its
// XDP dispatcher whenever it is run, and waits for all CPUs each time (25 ms).
func hold(program *ebpf.Program, ifname string) (link.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = ifname
	veth := netlink.NewVeth(attrs)
	veth.PeerName = ifname + "p"
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("create a veth for the generator: %w", err)
	}
	i, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: i.Index, Flags: link.XDPGenericMode})
	if err != nil {
		return nil, fmt.Errorf("attach the generator to %s: %w", ifname, err)
	}
	return l, nil
}

func (s *source) close() error {
	return errors.Join(s.held.Close(), s.program.Close(), s.clock.Close())
}

// sourceProgram writes every field that differs between packets into each of them: the kernel uses a frame again as the
// last packet left it. R6 the server or 0, R7 the packet, R8 the flow, R9 the client, then the sum of both addresses.
func sourceProgram(outs []int, p plan, clock, learnt *ebpf.Map) asm.Instructions {
	i := asm.Instructions{
		asm.LoadMem(asm.R7, asm.R1, xdpData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, xdpDataEnd, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Add.Imm(asm.R2, packetBytes),
		asm.JGT.Reg(asm.R2, asm.R3, "bad"),
		asm.FnGetPrandomU32.Call(),
		asm.And.Imm(asm.R0, int32(p.flows-1)),
		asm.Mov.Reg(asm.R8, asm.R0),
	}
	if p.sequential || p.stamps {
		i = append(i, lookup(clock, 0)...)
		i = append(i,
			asm.LoadMem(asm.R6, asm.R0, 0, asm.DWord), // number of the packet
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		)
		if p.sequential {
			i = append(i, asm.Mov.Reg32(asm.R8, asm.R6))
		}
		if p.stamps {
			i = append(i,
				asm.LoadMem(asm.R1, asm.R0, 16, asm.DWord),
				asm.Mul.Reg(asm.R1, asm.R6),
				asm.LoadMem(asm.R2, asm.R0, 8, asm.DWord),
				asm.Add.Reg(asm.R1, asm.R2),
				asm.StoreMem(asm.R7, offDue, asm.R1, asm.DWord),
			)
		}
	}
	i = append(i,
		asm.StoreImm(asm.R7, 0, int64(binary.NativeEndian.Uint32(forwarderMACs[0])), asm.Word),
		asm.StoreImm(asm.R7, 4, int64(binary.NativeEndian.Uint16(forwarderMACs[0][4:])), asm.Half),
		asm.StoreImm(asm.R7, offTTL, int64(binary.NativeEndian.Uint16([]byte{hops, unix.IPPROTO_UDP})), asm.Half),
		asm.Mov.Reg(asm.R9, asm.R8),
		asm.RSh.Imm(asm.R9, portBits),
		asm.Add.Imm32(asm.R9, int32(hostOrder(clientBase))),
		asm.Mov.Imm(asm.R6, 0),
	)
	if p.replies {
		i = append(i, asm.FnGetPrandomU32.Call(), asm.And.Imm(asm.R0, 1), asm.JEq.Imm(asm.R0, 0, "addressed"))
		i = append(i, lookupFlow(learnt)...)
		i = append(i, asm.LoadMem(asm.R6, asm.R0, 0, asm.Word), asm.JEq.Imm(asm.R6, 0, "addressed"))
		i = append(i, // a reply, from the server to the client
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.HostTo(asm.BE, asm.R1, asm.Word),
			asm.StoreMem(asm.R7, offSource, asm.R1, asm.Word),
			asm.Mov.Reg(asm.R1, asm.R9),
			asm.HostTo(asm.BE, asm.R1, asm.Word),
			asm.StoreMem(asm.R7, offDest, asm.R1, asm.Word),
			asm.StoreImm(asm.R7, offMACLow, int64(forwarderMACs[1][5]), asm.Byte),
		)
		i = append(i, wirePorts(offUDP+2, offUDP)...)
		i = append(i, asm.Ja.Label("reply"))
	}
	toService := append(asm.Instructions{ // a packet to the service
		asm.Mov.Reg(asm.R1, asm.R9).WithSymbol("addressed"),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.StoreMem(asm.R7, offSource, asm.R1, asm.Word),
		asm.Mov.Imm32(asm.R1, int32(hostOrder(virtual.Addr()))),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.StoreMem(asm.R7, offDest, asm.R1, asm.Word),
	}, wirePorts(offUDP, offUDP+2)...)
	i = append(i, toService...)
	i = append(i, asm.Mov.Imm32(asm.R1, int32(hostOrder(virtual.Addr()))))
	if p.replies {
		i = append(i, asm.Ja.Label("sum"), asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("reply"))
	}
	i = append(i, // R1: the other address
		asm.Mov.Reg(asm.R2, asm.R1).WithSymbol("sum"),
		asm.RSh.Imm(asm.R2, 16),
		asm.And.Imm(asm.R1, 0xffff),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.Mov.Reg(asm.R2, asm.R9),
		asm.RSh.Imm(asm.R2, 16),
		asm.And.Imm(asm.R9, 0xffff),
		asm.Add.Reg(asm.R9, asm.R2),
		asm.Add.Reg(asm.R9, asm.R1),
	)
	i = append(i, storeSum(offIPSum, headerSum(template()[offIP:offUDP]), false)...)
	if !p.stamps { // else the checksum stays 0: there is none
		i = append(i, storeSum(offUDPSum, unix.IPPROTO_UDP+2*uint32(packetBytes-offUDP)+uint32(virtual.Port()), true)...)
	} else {
		i = append(i, asm.FnKtimeGetNs.Call(), asm.StoreMem(asm.R7, offSent, asm.R0, asm.DWord))
	}
	return append(i,
		asm.Mov.Imm(asm.R1, int32(outs[0])),
		asm.JEq.Imm(asm.R6, 0, "send"),
		asm.Mov.Imm(asm.R1, int32(outs[len(outs)-1])),
		asm.Mov.Imm(asm.R2, 0).WithSymbol("send"),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, xdpAborted).WithSymbol("bad"),
		asm.Return(),
	)
}

// wirePorts writes the client's port, made of the flow in R8, and the service's.
func wirePorts(client, service int16) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.And.Imm(asm.R1, portsPerClient-1),
		asm.Add.Imm(asm.R1, firstPort),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(asm.R7, client, asm.R1, asm.Half),
		asm.Mov.Imm(asm.R1, int32(virtual.Port())),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(asm.R7, service, asm.R1, asm.Half),
	}
}

// storeSum writes a checksum over R9 and constant words, with the client's port or without.
func storeSum(offset int16, constant uint32, port bool) asm.Instructions {
	i := asm.Instructions{asm.Mov.Reg(asm.R1, asm.R9), asm.Add.Imm(asm.R1, int32(constant))}
	if port {
		i = append(i,
			asm.Mov.Reg(asm.R2, asm.R8),
			asm.And.Imm(asm.R2, portsPerClient-1),
			asm.Add.Imm(asm.R2, firstPort),
			asm.Add.Reg(asm.R1, asm.R2),
		)
	}
	for range 2 {
		i = append(i,
			asm.Mov.Reg(asm.R2, asm.R1),
			asm.RSh.Imm(asm.R2, 16),
			asm.And.Imm(asm.R1, 0xffff),
			asm.Add.Reg(asm.R1, asm.R2),
		)
	}
	return append(i, asm.Xor.Imm(asm.R1, 0xffff), asm.HostTo(asm.BE, asm.R1, asm.Half), asm.StoreMem(asm.R7, offset, asm.R1, asm.Half))
}

// lookup leaves a pointer to a map's value of a constant key in R0. It spends R1 and R2.
func lookup(m *ebpf.Map, key int64) asm.Instructions {
	return asm.Instructions{
		asm.StoreImm(asm.RFP, -4, key, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "bad"),
	}
}

// lookupFlow is lookup with the flow in R8 as the key.
func lookupFlow(m *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(asm.RFP, -4, asm.R8, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "bad"),
	}
}

// offer sends n packets as fast as it can. The thread is the generator's, in its namespace: see generate.
func (s *source) offer(n uint32) error {
	_, err := s.program.Run(&ebpf.RunOptions{Data: s.packet, Repeat: n, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
	if err != nil {
		return fmt.Errorf("BPF_PROG_TEST_RUN with live frames (Linux 5.18 and newer): %w", err)
	}
	return nil
}

// flood offers packets as fast as it can for a while, and returns how many.
func (s *source) flood(d time.Duration) (n uint64, err error) {
	const chunk = 1 << 15
	err = s.generate(func() error {
		for end := time.Now().Add(d); time.Now().Before(end); n += chunk {
			if err := s.offer(chunk); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// generate calls f on a thread in the generator's namespace and on its CPU.
func (s *source) generate(f func() error) error {
	return lab.In(s.namespace, func() (err error) {
		var everywhere unix.CPUSet
		if err := unix.SchedGetaffinity(0, &everywhere); err != nil {
			return fmt.Errorf("read the CPU mask: %w", err)
		}
		if err := pin(generatorCPU); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &everywhere)) }()
		return f()
	})
}

// pace offers n packets at a rate, in bursts of the given number, each when it is due or, where the generator was late,
// as soon as it can: the number offered does not depend on how fast they are taken.
func (s *source) pace(n, burst uint64, rate float64) error {
	return s.generate(func() error {
		start := time.Now()
		for sent := uint64(0); sent < n; sent += burst {
			time.Sleep(time.Until(start.Add(time.Duration(float64(sent) / rate * float64(time.Second)))))
			if err := s.offer(uint32(burst)); err != nil {
				return err
			}
		}
		return nil
	})
}

// hostOrder is an IPv4 address as a number.
func hostOrder(a netip.Addr) uint32 { return binary.BigEndian.Uint32(a.AsSlice()) }

// headerSum adds up a header's words without the addresses and the checksum.
func headerSum(h []byte) (sum uint32) {
	for i := 0; i < 12; i += 2 {
		if i != 10 {
			sum += uint32(binary.BigEndian.Uint16(h[i:]))
		}
	}
	return sum
}

// template is the packet before the program has filled in flow and checksums.
func template() []byte {
	b := append(append([]byte{}, forwarderMACs[0]...), generatorMAC...)
	b = append(b, 0x08, 0x00, 0x45, 0, 0, packetBytes-offIP, 0, 0, 0x40, 0, hops, unix.IPPROTO_UDP, 0, 0)
	b = append(append(b, clientBase.AsSlice()...), virtual.Addr().AsSlice()...)
	b = append(b, 0, 0, 0, 0, 0, packetBytes-offUDP, 0, 0)
	return append(b, make([]byte, packetBytes-len(b))...)
}
