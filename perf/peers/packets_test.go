package main

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// sum16 is the ones' complement sum of b's words: 0xffff where a right checksum is among them.
func sum16(b []byte, start uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		start += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for start > 0xffff {
		start = start>>16 + start&0xffff
	}
	return uint16(start)
}

// TestSourceProgram runs the generator's program on a packet as another flow's forwarder would leave it: everything that
// differs between packets must be written anew, and both checksums be right.
func TestSourceProgram(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	clock, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 24, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer clock.Close()
	const flows = 1 << 16
	learnt, err := newLearnt(flows)
	if err != nil {
		t.Fatal(err)
	}
	defer learnt.Close()
	for flow := range uint32(flows) {
		if err := learnt.Put(flow, hostOrder(servers[flow%4])); err != nil {
			t.Fatal(err)
		}
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL",
		Instructions: sourceProgram([]int{1, 1}, plan{flows: flows, replies: true}, clock, learnt)})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	var requests, replies int
	used := template()
	for range 200 {
		for i := range used[:offDue] {
			if length := i == offUDP+4 || i == offUDP+5; i < 12 || i >= offTTL && !length { // all that forwarders may write
				used[i] ^= 0x5a
			}
		}
		out := make([]byte, packetBytes)
		verdict, err := program.Run(&ebpf.RunOptions{Data: used, DataOut: out})
		if err != nil || verdict == xdpAborted {
			t.Fatalf("verdict %d, %v", verdict, err)
		}
		src, dst := binary.BigEndian.Uint32(out[offSource:]), binary.BigEndian.Uint32(out[offDest:])
		sport, dport := binary.BigEndian.Uint16(out[offUDP:]), binary.BigEndian.Uint16(out[offUDP+2:])
		arm := 0
		client, port := src, sport
		if dst == hostOrder(virtual.Addr()) && dport == virtual.Port() {
			requests++
		} else {
			replies++
			arm, client, port = 1, dst, dport
		}
		flow := (client-hostOrder(clientBase))<<portBits + uint32(port) - firstPort
		if flow >= flows || port < firstPort {
			t.Fatalf("packet of flow %d: % x", flow, out)
		}
		if arm == 1 && (src != hostOrder(servers[flow%4]) || sport != virtual.Port()) {
			t.Fatalf("reply of flow %d from another than its server: % x", flow, out)
		}
		if string(out[:6]) != string(forwarderMACs[arm]) || out[offTTL] != hops || out[offTTL+1] != unix.IPPROTO_UDP {
			t.Fatalf("arm %d: % x", arm, out)
		}
		if s := sum16(out[offIP:offUDP], 0); s != 0xffff {
			t.Fatalf("IP checksum: %#x: % x", s, out)
		}
		pseudo := uint32(unix.IPPROTO_UDP) + packetBytes - offUDP
		if s := sum16(append(append([]byte{}, out[offSource:offUDP]...), out[offUDP:]...), pseudo); s != 0xffff {
			t.Fatalf("UDP checksum: %#x: % x", s, out)
		}
		used = out
	}
	if requests < 50 || replies < 50 {
		t.Errorf("%d requests, %d replies of 200 packets", requests, replies)
	}
}
