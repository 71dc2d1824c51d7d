package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// sink counts and drops what comes back.
type sink struct {
	counters *ebpf.Map
	link     link.Link
}

// newSink attaches to an interface of the calling thread's namespace. With learnt it also notes to which server the
// packets of each flow go, until settle is called.
func newSink(in *net.Interface, learnt *ebpf.Map) (*sink, error) {
	counters, err := ebpf.NewMap(&ebpf.MapSpec{Name: "peers_sink", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("create the sink's counter: %w", err)
	}
	s := &sink{counters: counters}
	program, err := loadSink(s.instructions(learnt))
	if err != nil {
		return nil, errors.Join(err, counters.Close())
	}
	defer program.Close()
	if s.link, err = link.AttachXDP(link.XDPOptions{Program: program, Interface: in.Index, Flags: link.XDPDriverMode}); err != nil {
		return nil, fmt.Errorf("attach the sink: %w", errors.Join(err, counters.Close()))
	}
	return s, nil
}

func loadSink(i asm.Instructions) (*ebpf.Program, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "peers_sink", Type: ebpf.XDP, License: "GPL", Instructions: i})
	if err != nil {
		return nil, fmt.Errorf("load the sink: %w", err)
	}
	return p, nil
}

// use makes another program the sink's.
func (s *sink) use(i asm.Instructions) error {
	p, err := loadSink(i)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := s.link.Update(p); err != nil {
		return fmt.Errorf("exchange the sink's program: %w", err)
	}
	return nil
}

// settle ends learning: what is left counts only.
func (s *sink) settle() error { return s.use(s.instructions(nil)) }

// instructions: R6 the context, R7 the packet, R8 the flow.
func (s *sink) instructions(learnt *ebpf.Map) asm.Instructions {
	i := append(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, lookup(s.counters, 0)...)
	i = append(i,
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
	)
	if learnt != nil {
		i = append(i, packetOfOurs()...)
		i = append(i,
			asm.LoadMem(asm.R8, asm.R7, offSource, asm.Word),
			asm.HostTo(asm.BE, asm.R8, asm.Word),
			asm.Sub.Imm32(asm.R8, int32(hostOrder(clientBase))),
			asm.LSh.Imm(asm.R8, portBits),
			asm.LoadMem(asm.R1, asm.R7, offUDP, asm.Half),
			asm.HostTo(asm.BE, asm.R1, asm.Half),
			asm.Sub.Imm(asm.R1, firstPort),
			asm.Add.Reg(asm.R8, asm.R1),
		)
		i = append(i, lookupFlow(learnt)...)
		i = append(i,
			asm.LoadMem(asm.R1, asm.R7, offDest, asm.Word),
			asm.HostTo(asm.BE, asm.R1, asm.Word),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.Word),
		)
	}
	return append(i, asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("bad"), asm.Return())
}

// packetOfOurs leaves the packet in R7, and goes to "bad" with one that is shorter than the generator's.
func packetOfOurs() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R7, asm.R6, xdpData, asm.Word),
		asm.LoadMem(asm.R3, asm.R6, xdpDataEnd, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Add.Imm(asm.R2, packetBytes),
		asm.JGT.Reg(asm.R2, asm.R3, "bad"),
	}
}

func (s *sink) close() error { return errors.Join(s.link.Close(), s.counters.Close()) }

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

// newLearnt makes the map of flows to servers: numbers of addresses, 0 as long as unknown.
func newLearnt(flows uint32) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "peers_learnt", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: flows})
	if err != nil {
		return nil, fmt.Errorf("create the map of servers: %w", err)
	}
	return m, nil
}
