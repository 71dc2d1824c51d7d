package director

import (
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// flood sends n datagrams from the client to the director as fast as the kernel can: one frame, run again and again
// through an XDP program that redirects it into the client's end of the wire.
func (s *site) flood(frame []byte, n uint32) {
	s.t.Helper()
	s.in(&s.client)
	out, err := net.InterfaceByName("eth0")
	ok(s.t, err)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "MIT", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(out.Index)), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return(),
	}})
	ok(s.t, err)
	defer p.Close()
	_, err = p.Run(&ebpf.RunOptions{Data: frame, Repeat: n, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES})
	ok(s.t, err)
}

// Under load a worker makes one system call for many packets, and does not ask whether there are more.
func TestSyscallsUnderLoad(t *testing.T) {
	s := newSite(t)
	c := s.datagrams()
	one := served(vip, service.NAT, 1)
	one.Spec.ID.Protocol, one.Spec.ID.Port, one.Servers[0].Port = service.UDP, 81, 81
	s.config.Services = append(s.config.Services, one)
	s.in(&s.server)
	sink, err := net.ListenPacket("udp4", "10.20.0.2:81") // nobody reads: it takes what comes and says nothing
	ok(t, err)
	defer sink.Close()
	d := s.start()
	ask(t, c) // resolves neighbours

	to, from := s.director.link(t, "c").Attrs().HardwareAddr, s.client.link(t, "eth0").Attrs().HardwareAddr
	udp := []byte{0x30, 0x39, 0, 81, 0, 26, 0, 0} // without a checksum
	ip := append([]byte{0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0, 10, 10, 0, 2}, net.ParseIP(vip).To4()...)
	packet.SetHeaderChecksum(ip)
	frame := append(append(append([]byte{}, to...), from...), 8, 0)
	frame = append(append(append(frame, ip...), udp...), make([]byte, 18)...)

	const packets = 200_000
	before := theWorker(t, d)
	s.flood(frame, packets)
	s.in(&s.director)
	var after WorkerStatus
	for deadline := time.Now().Add(10 * time.Second); ; {
		was := after.RXPackets
		if after = theWorker(t, d); after.RXPackets == was && was > before.RXPackets || time.Now().After(deadline) {
			break
		}
		rest(20 * time.Millisecond)
	}
	received, sent := after.RXPackets-before.RXPackets, after.TXPackets-before.TXPackets
	calls := after.Syscalls.Send + after.Syscalls.Receive + after.Syscalls.Poll - before.Syscalls.Send - before.Syscalls.Receive - before.Syscalls.Poll
	t.Logf("%d packets received, %d sent, %d system calls: one for %.0f packets", received, sent, calls, float64(received)/float64(calls))
	if received < packets/50 || sent < received/2 {
		t.Fatalf("%d of %d packets were received, %d sent: %+v", received, packets, sent, after)
	}
	if calls > received/16 {
		t.Errorf("%d system calls for %d packets: %+v, before %+v", calls, received, after.Syscalls, before.Syscalls)
	}
}
