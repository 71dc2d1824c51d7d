package worker

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// segment is a TCP segment as the tests write it.
type segment struct {
	src, dst     string
	sport, dport uint16
	seq, ack     uint32
	flags        uint8
	opts         []byte
	text         string
}

func (s segment) frame() []byte {
	h := make([]byte, 20, 20+len(s.opts)+len(s.text))
	binary.BigEndian.PutUint16(h, s.sport)
	binary.BigEndian.PutUint16(h[2:], s.dport)
	binary.BigEndian.PutUint32(h[4:], s.seq)
	binary.BigEndian.PutUint32(h[8:], s.ack)
	h[12], h[13] = byte(5+len(s.opts)/4)<<4, s.flags
	f := frame(s.src, s.dst, packet.ProtoTCP, append(h, make([]byte, len(s.opts)+len(s.text))...), 16)
	seg := f[len(f)-cap(h):]
	copy(seg[20:], s.opts)
	copy(seg[20+len(s.opts):], s.text)
	seg[16], seg[17] = 0, 0
	binary.BigEndian.PutUint16(seg[16:], packet.PseudoHeader(ip(s.src), ip(s.dst), packet.ProtoTCP, len(seg)).AddBytes(seg).Checksum())
	return f
}

// readSegment is the inverse, for a frame that was sent; its checksums are verified.
func (r *rig) readSegment(f []byte) (s segment) {
	r.t.Helper()
	k, p := r.check(f)
	if f[14]>>4 == 4 {
		h := append([]byte{}, f[14:34]...)
		if packet.SetHeaderChecksum(h); h[10] != f[24] || h[11] != f[25] {
			r.t.Errorf("wrong header checksum in %x", f)
		}
	}
	seg := f[p.L4 : int(p.L3)+int(p.Len)]
	off := int(seg[12]>>4) * 4
	return segment{
		src: k.Src.Netip().String(), dst: k.Dst.Netip().String(), sport: k.SrcPort, dport: k.DstPort,
		seq: binary.BigEndian.Uint32(seg[4:]), ack: binary.BigEndian.Uint32(seg[8:]), flags: seg[13],
		opts: append([]byte{}, seg[20:off]...), text: string(seg[off:]),
	}
}

// ftp is an FTP site: a client with a control connection through the service to its server.
type ftp struct {
	*rig
	client, vip, server string
	cport               uint16
}

const ftpClientPort = 4000

func newFTP(t *testing.T, client, vip string, port uint16, server string) *ftp {
	t.Helper()
	r := newRig(t, 1)
	id := r.service(service.TCP, vip, 21, service.NAT)
	if err := r.table.AddServer(id, service.ServerSpec{ServerID: service.ServerID{Addr: netip.MustParseAddr(server), Port: port}, Method: service.NAT, Weight: 1}); err != nil {
		t.Fatal(err)
	}
	r.publish()
	f := &ftp{rig: r, client: client, vip: vip, server: server, cport: ftpClientPort}
	f.fromClient(segment{seq: 99, flags: packet.SYN})
	f.fromServer(port, segment{seq: 999, flags: packet.SYN | packet.ACK, ack: 100})
	f.fromClient(segment{seq: 100, ack: 1000, flags: packet.ACK})
	return f
}

// fromClient sends a segment of the client's to the service; it returns what the server receives.
func (f *ftp) fromClient(s segment) segment {
	f.t.Helper()
	s.src, s.dst = f.client, f.vip
	if s.sport == 0 {
		s.sport = f.cport
	}
	if s.dport == 0 {
		s.dport = 21
	}
	return f.through(0, 1, s)
}

// fromServer sends a segment of the server's, from a port, to the client; it returns what the client receives.
func (f *ftp) fromServer(port uint16, s segment) segment {
	f.t.Helper()
	s.src, s.dst, s.sport = f.server, f.client, port
	if s.dport == 0 {
		s.dport = f.cport
	}
	return f.through(1, 0, s)
}

func (f *ftp) through(from, to int, s segment) segment {
	f.t.Helper()
	out := f.in(from, s.frame())
	if len(out) != 1 || out[0].port != to {
		f.t.Fatalf("%+v: %d frames sent", s, len(out))
	}
	return f.readSegment(out[0].frame)
}

// conn finds the connection of a client's packet.
func (f *ftp) conn(sport, dport uint16) *flow.Conn {
	f.t.Helper()
	key := packet.Tuple{Src: ip(f.client), Dst: ip(f.vip), SrcPort: sport, DstPort: dport, Proto: packet.ProtoTCP, Family: 4}
	if !key.Src.Is4() {
		key.Family = 6
	}
	ref, dir := f.flows.Lookup(&key)
	if ref == 0 || dir != flow.In {
		f.t.Fatalf("no connection %d > %d", sport, dport)
	}
	return f.flows.Conn(ref)
}

func TestFTPPassive(t *testing.T) {
	for _, c := range []struct {
		name, client, vip, server string
		ask, answer, want         string
	}{
		{"PASV", "10.1.0.1", "10.9.0.1", "10.2.0.11", "PASV\r\n", "227 Entering Passive Mode (10,2,0,11,195,80).\r\n", "227 Entering Passive Mode (10,9,0,1,195,80).\r\n"},
		{"longer", "10.1.0.1", "210.109.100.101", "10.2.0.11", "pasv\r\n", "227 Entering Passive Mode (10,2,0,11,195,80).\r\n", "227 Entering Passive Mode (210,109,100,101,195,80).\r\n"},
		{"without parentheses", "10.1.0.1", "10.9.0.1", "10.2.0.11", "PASV\r\n", "227 =10,2,0,11,195,80\r\n", "227 =10,9,0,1,195,80\r\n"},
		{"EPSV", "10.1.0.1", "10.9.0.1", "10.2.0.11", "EPSV\r\n", "229 Entering Extended Passive Mode (|||50000|)\r\n", "229 Entering Extended Passive Mode (|||50000|)\r\n"},
		{"EPSV 1", "10.1.0.1", "10.9.0.1", "10.2.0.11", "EPSV 1\r\n", "229 Ok (|1|10.2.0.11|50000|)\r\n", "229 Ok (|||50000|)\r\n"},
		{"EPSV 2", "fd00:1::1", "fd00:9::1", "fd00:2::11", "EPSV 2\r\n", "229 Ok (|2|fd00:2::11|50000|)\r\n", "229 Ok (|||50000|)\r\n"},
		{"EPSV, IPv6", "fd00:1::1", "fd00:9::1", "fd00:2::11", "EPSV\r\n", "229 Ok (|||50000|)\r\n", "229 Ok (|||50000|)\r\n"},
		{"after other commands", "10.1.0.1", "10.9.0.1", "10.2.0.11", "TYPE I\r\nPASV\r\n", "227 Ok (10,2,0,11,195,80)\r\n", "227 Ok (10,9,0,1,195,80)\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFTP(t, c.client, c.vip, 21, c.server)
			if s := f.fromClient(segment{seq: 100, ack: 1000, flags: packet.ACK | packet.PSH, text: c.ask}); s.text != c.ask || s.seq != 100 || s.ack != 1000 {
				t.Errorf("the server gets %+v", s)
			}
			asked := 100 + uint32(len(c.ask))
			for range 2 { // the second is a retransmission
				if s := f.fromServer(21, segment{seq: 1000, ack: asked, flags: packet.ACK | packet.PSH, text: c.answer}); s.text != c.want || s.seq != 1000 || s.src != c.vip {
					t.Errorf("the client gets %+v", s)
				}
			}
			if n := f.flows.Len(); n != 2 {
				t.Fatalf("%d connections", n)
			}
			d := f.conn(0, 50000)
			if d.State() != flow.TCPListen || d.LoadFlags()&flow.FlagNoCPort == 0 || d.Deadline != int64(f.now+120*clock.Second) {
				t.Errorf("the data connection is expected as %+v", d)
			}
			// What follows is moved, and confirmations are moved back.
			next := 1000 + uint32(len(c.answer))
			shift := uint32(len(c.want) - len(c.answer))
			if s := f.fromClient(segment{seq: asked, ack: next + shift, flags: packet.ACK}); s.ack != next {
				t.Errorf("the server gets ack %d, want %d", s.ack, next)
			}
			if s := f.fromServer(21, segment{seq: next, ack: asked, flags: packet.ACK, text: "150 Ok\r\n"}); s.seq != next+shift {
				t.Errorf("the client gets seq %d, want %d", s.seq, next+shift)
			}
			// The data connection, from a port that nobody knew.
			if s := f.fromClient(segment{sport: 4001, dport: 50000, flags: packet.SYN}); s.dst != c.server || s.dport != 50000 {
				t.Errorf("the server's data port gets %+v", s)
			}
			if d := f.conn(4001, 50000); d.State() != flow.TCPSynRecv || d.LoadFlags()&(flow.FlagNoCPort|flow.FlagHelper) != 0 {
				t.Errorf("the data connection became %+v", d)
			}
			if f.flows.HasNoCPort() {
				t.Error("the table still counts a connection without client port")
			}
			if s := f.fromServer(50000, segment{dport: 4001, flags: packet.SYN | packet.ACK}); s.src != c.vip || s.sport != 50000 {
				t.Errorf("the client gets %+v", s)
			}
			f.fromClient(segment{sport: 4001, dport: 50000, flags: packet.ACK})
			f.dataIsFast(4001, 50000)
			if s := f.counters.Sum(1); s.Conns != 1 {
				t.Errorf("%d connections counted: the helper's are none", s.Conns)
			}
			if active, inactive, _ := f.slots.Get(1).Counts(); active != 2 || inactive != 0 {
				t.Errorf("active %d, inactive %d", active, inactive)
			}
			f.account()
		})
	}
}

// dataIsFast fails unless packets of a data connection take the quick way.
func (f *ftp) dataIsFast(sport, dport uint16) {
	f.t.Helper()
	w := f.workers[0]
	w.snap = w.shared.Load()
	s := segment{src: f.client, dst: f.vip, sport: sport, dport: dport, flags: packet.ACK, text: "data"}
	var pr [1]flow.Probe
	var p packet.Parsed
	at, _ := w.frames.Get()
	b := s.frame()
	copy(w.mem[at+256:], b)
	packet.Parse(b, &pr[0].Key, &p)
	w.flows.LookupBatch(pr[:], nil)
	d := descOf(at+256, len(b))
	if pr[0].Ref == 0 || !w.established(&pr[0], &p, &d) {
		f.t.Error("the data connection does not take the quick way")
	}
	w.transmit()
	f.take(0)
}

func TestFTPActive(t *testing.T) {
	for _, c := range []struct {
		name, client, vip, server string
		port                      uint16
		ask                       string
	}{
		{"PORT", "10.1.0.1", "10.9.0.1", "10.2.0.11", 21, "PORT 10,1,0,1,15,161\r\n"},
		{"port", "10.1.0.1", "10.9.0.1", "10.2.0.11", 21, "port   10,1,0,1,15,161\r\n"},
		{"other port", "10.1.0.1", "10.9.0.1", "10.2.0.11", 2121, "PORT 10,1,0,1,15,161\r\n"},
		{"EPRT", "10.1.0.1", "10.9.0.1", "10.2.0.11", 21, "EPRT |1|10.1.0.1|4001|\r\n"},
		{"EPRT, IPv6", "fd00:1::1", "fd00:9::1", "fd00:2::11", 21, "EPRT |2|fd00:1::1|4001|\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFTP(t, c.client, c.vip, c.port, c.server)
			for range 2 {
				if s := f.fromClient(segment{seq: 100, ack: 1000, flags: packet.ACK | packet.PSH, text: c.ask}); s.text != c.ask {
					t.Errorf("the server gets %+v", s)
				}
			}
			if d := f.conn(4001, 20); d.State() != flow.TCPListen || f.flows.Len() != 2 {
				t.Fatalf("the data connection is expected as %+v", d)
			}
			if s := f.fromServer(c.port-1, segment{dport: 4001, seq: 5000, flags: packet.SYN}); s.src != c.vip || s.sport != 20 || s.dport != 4001 {
				t.Errorf("the client gets %+v", s)
			}
			if s := f.fromClient(segment{sport: 4001, dport: 20, flags: packet.SYN | packet.ACK}); s.dst != c.server || s.dport != c.port-1 {
				t.Errorf("the server gets %+v", s)
			}
			f.fromServer(c.port-1, segment{dport: 4001, flags: packet.ACK})
			if d := f.conn(4001, 20); d.State() != flow.TCPEstablished {
				t.Errorf("state %d", d.State())
			}
			f.dataIsFast(4001, 20)
			f.account()
		})
	}
}

// A control connection whose time is over stays while a data connection hangs on it (spec/connections.md 2.6).
func TestFTPControl(t *testing.T) {
	f := newFTP(t, "10.1.0.1", "10.9.0.1", 21, "10.2.0.11")
	f.fromClient(segment{seq: 100, ack: 1000, flags: packet.ACK, text: "PORT 10,1,0,1,15,161\r\n"})
	f.fromServer(20, segment{dport: 4001, flags: packet.SYN})
	f.fromClient(segment{sport: 4001, dport: 20, flags: packet.SYN | packet.ACK})
	f.fromServer(20, segment{dport: 4001, flags: packet.ACK})
	f.fromClient(segment{seq: 122, ack: 1000, flags: packet.RST})
	for range 20 { // 10 s of CLOSE, then 60 s again and again
		f.now += 50 * clock.Second
		f.fromServer(20, segment{dport: 4001, flags: packet.ACK, text: "data"})
		f.workers[0].Round(f.now)
	}
	if f.flows.Len() != 2 {
		t.Fatalf("%d connections while data flow", f.flows.Len())
	}
	f.fromServer(20, segment{dport: 4001, flags: packet.RST})
	for range 4 {
		f.now += 65 * clock.Second
		f.workers[0].Round(f.now)
	}
	if active, inactive, _ := f.slots.Get(1).Counts(); f.flows.Len() != 0 || active != 0 || inactive != 0 {
		t.Errorf("%d connections after all, %d active, %d inactive", f.flows.Len(), active, inactive)
	}
	f.account()
}

// A data connection that never comes is forgotten after 120 s, and gives the server's count back.
func TestFTPListenExpires(t *testing.T) {
	f := newFTP(t, "10.1.0.1", "10.9.0.1", 21, "10.2.0.11")
	f.fromClient(segment{seq: 100, ack: 1000, flags: packet.ACK, text: "PASV\r\n"})
	f.fromServer(21, segment{seq: 1000, ack: 106, flags: packet.ACK, text: "227 (10,2,0,11,195,80)\r\n"})
	if active, inactive, _ := f.slots.Get(1).Counts(); active != 1 || inactive != 1 {
		t.Errorf("active %d, inactive %d", active, inactive)
	}
	f.now += 121 * clock.Second
	f.workers[0].Round(f.now)
	if active, inactive, _ := f.slots.Get(1).Counts(); f.flows.Len() != 1 || f.flows.HasNoCPort() || active != 1 || inactive != 0 {
		t.Errorf("%d connections, active %d, inactive %d", f.flows.Len(), active, inactive)
	}
	f.account()
}

// What the helper must leave alone.
func TestFTPIgnores(t *testing.T) {
	for _, c := range []struct{ name, ask, answer string }{
		{"nobody asked", "NOOP\r\n", "227 Ok (10,2,0,11,195,80)\r\n"},
		{"EPSV ALL", "EPSV ALL\r\n", "229 Ok (|||50000|)\r\n"},
		{"EPSV of the other family", "EPSV 2\r\n", "229 Ok (|1|10.2.0.11|50000|)\r\n"},
		{"another answer", "PASV\r\n", "425 (10,2,0,11,195,80)\r\n"},
		{"229 to PASV", "PASV\r\n", "229 Ok (|||50000|)\r\n"},
		{"not at the beginning", "PASV\r\n", "x227 Ok (10,2,0,11,195,80)\r\n"},
		{"cut after the port", "PASV\r\n", "227 Ok (10,2,0,11,195,80"},
		{"five numbers", "PASV\r\n", "227 Ok (10,2,0,11,195)\r\n"},
		{"no byte", "PASV\r\n", "227 Ok (10,2,0,11,195,256)\r\n"},
		{"cut command", "PASV\r", "227 Ok (10,2,0,11,195,80)\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFTP(t, "10.1.0.1", "10.9.0.1", 21, "10.2.0.11")
			f.fromClient(segment{seq: 100, ack: 1000, flags: packet.ACK, text: c.ask})
			if s := f.fromServer(21, segment{seq: 1000, ack: 106, flags: packet.ACK, text: c.answer}); s.text != c.answer {
				t.Errorf("the client gets %q", s.text)
			}
			if f.flows.Len() != 1 {
				t.Errorf("%d connections", f.flows.Len())
			}
		})
	}
}

// The helper verifies what it reads, in every state and both directions.
func TestFTPChecksum(t *testing.T) {
	f := newFTP(t, "10.1.0.1", "10.9.0.1", 21, "10.2.0.11")
	for i, b := range [][]byte{
		segment{src: f.client, dst: f.vip, sport: f.cport, dport: 21, flags: packet.ACK, text: "PASV\r\n"}.frame(),
		segment{src: f.server, dst: f.client, sport: 21, dport: f.cport, flags: packet.ACK, text: "200 Ok\r\n"}.frame(),
		segment{src: f.client, dst: f.vip, sport: 4711, dport: 21, flags: packet.SYN}.frame(),
	} {
		b[len(b)-1] ^= 1
		if out := f.in(i&1, b); len(out) != 0 {
			t.Errorf("segment %d was sent", i)
		}
	}
	f.reason(perf.BadTransportChecksum, 3)
	f.account()
}

// A full table drops what announces a data connection, as the kernel does: it comes again.
func TestFTPTableFull(t *testing.T) {
	f := newFTP(t, "10.1.0.1", "10.9.0.1", 21, "10.2.0.11")
	var taken []flow.Ref
	for r := f.flows.Alloc(0); r != 0; r = f.flows.Alloc(0) {
		taken = append(taken, r)
	}
	ask := segment{src: f.client, dst: f.vip, sport: f.cport, dport: 21, flags: packet.ACK, text: "PORT 10,1,0,1,15,161\r\n"}
	if out := f.in(0, ask.frame()); len(out) != 0 {
		t.Error("PORT was sent")
	}
	f.reason(perf.TableFull, 1)
	for _, r := range taken {
		f.flows.Free(0, r)
	}
	if out := f.in(0, ask.frame()); len(out) != 1 || f.flows.Len() != 2 {
		t.Error("PORT was not sent again")
	}
	f.account()
}

// An answer that fills a packet grows beyond the MTU: it leaves in two fragments, DF or not, and nobody is told.
func TestFTPGrowthBeyondMTU(t *testing.T) {
	f := newFTP(t, "10.1.0.1", "210.109.100.101", 21, "10.2.0.11")
	f.fromClient(segment{seq: 100, ack: 1000, flags: packet.ACK, text: "PASV\r\n"})
	answer := "227 Ok (10,2,0,11,195,80)" + strings.Repeat(".", 1460-27) + "\r\n"
	b := segment{src: f.server, dst: f.client, sport: 21, dport: f.cport, seq: 1000, ack: 106, flags: packet.ACK, text: answer}.frame()
	b[14+6] = 0x40 // DF
	packet.SetHeaderChecksum(b[14:])
	if len(b) != 1514 {
		t.Fatalf("a frame of %d bytes", len(b))
	}
	out := f.in(1, b)
	if len(out) != 2 || len(out[0].frame) > 1514 {
		t.Fatalf("sent %d frames", len(out))
	}
	whole := append(append([]byte{}, out[0].frame...), out[1].frame[34:]...)
	binary.BigEndian.PutUint16(whole[16:], uint16(len(whole)-14))
	whole[20], whole[21] = 0, 0
	packet.SetHeaderChecksum(whole[14:])
	if s := f.readSegment(whole); s.text != strings.Replace(answer, "10,2,0,11", "210,109,100,101", 1) {
		t.Errorf("the client gets %q", s.text)
	}
	f.account()
}

// Answers of all lengths, lost and sent again: the client's stream is the server's with the addresses replaced, and the
// server learns of each byte exactly when the client has it.
func TestFTPStream(t *testing.T) {
	for _, vip := range []string{"1.2.3.4", "210.109.100.101", "10.9.0.11"} {
		t.Run(vip, func(t *testing.T) {
			f := newFTP(t, "10.1.0.1", vip, 21, "10.2.0.11")
			cseq, sseq, want := uint32(100), uint32(1000), uint32(1000) // want: the client's view of sseq
			for i := range 60 {
				ask := segment{seq: cseq, ack: want, flags: packet.ACK, text: "PASV\r\n"}
				for range 1 + i%2 {
					if s := f.fromClient(ask); s.ack != sseq {
						t.Fatalf("answer %d: ack %d reached the server as %d, want %d", i, want, s.ack, sseq)
					}
				}
				cseq += 6
				port := 40000 + i*7
				text := fmt.Sprintf("227 Ok (10,2,0,11,%d,%d)\r\n", port>>8, port&255)
				told := strings.Replace(text, "10,2,0,11", strings.ReplaceAll(vip, ".", ","), 1)
				for n := range 1 + i%3 {
					if s := f.fromServer(21, segment{seq: sseq, ack: cseq, flags: packet.ACK, text: text}); s.text != told || s.seq != want {
						t.Fatalf("answer %d, try %d: seq %d %q; want %d %q", i, n, s.seq, s.text, want, told)
					}
					// A duplicate confirmation of what came before, with a gap behind it.
					sack := binary.BigEndian.AppendUint32([]byte{1, 1, 5, 10}, want+uint32(len(told)))
					sack = binary.BigEndian.AppendUint32(sack, want+uint32(len(told))+8)
					s := f.fromClient(segment{seq: cseq, ack: want, flags: packet.ACK, opts: sack})
					left, right := binary.BigEndian.Uint32(s.opts[4:]), binary.BigEndian.Uint32(s.opts[8:])
					if s.ack != sseq || left != sseq+uint32(len(text)) || right != left+8 {
						t.Fatalf("answer %d: the server learns %d and %d-%d, it sent %d and %d", i, s.ack, left, right, sseq, sseq+uint32(len(text)))
					}
				}
				sseq, want = sseq+uint32(len(text)), want+uint32(len(told))
			}
			if s := f.fromServer(21, segment{seq: sseq, ack: cseq, flags: packet.ACK | packet.FIN}); s.seq != want {
				t.Errorf("FIN has %d, want %d", s.seq, want)
			}
			if s := f.fromClient(segment{seq: cseq, ack: want + 1, flags: packet.ACK}); s.ack != sseq+1 {
				t.Errorf("its confirmation has %d, want %d", s.ack, sseq+1)
			}
			f.account()
		})
	}
}

// The worked example of spec/connections.md 15.3, and what a text that became shorter does.
func TestSeqAdjust(t *testing.T) {
	a := seqAdjust{}.resized(1000, 10, true)
	for _, c := range [][2]uint32{{1000, 1000}, {1050, 1060}, {999, 999}} {
		if got := a.seq(c[0]); got != c[1] {
			t.Errorf("seq %d became %d, want %d", c[0], got, c[1])
		}
	}
	for _, c := range [][2]uint32{{1060, 1050}, {1000, 1000}} {
		if got := a.ack(c[0]); got != c[1] {
			t.Errorf("ack %d became %d, want %d", c[0], got, c[1])
		}
	}
	if got := a.resized(1000, 10, false); got != a {
		t.Errorf("a retransmission changed %+v to %+v", a, got)
	}
	b := seqAdjust{}.resized(1000, -3, true)
	if b.ack(1000) != 1000 || b.ack(1001) != 1004 || b.seq(1001) != 998 {
		t.Errorf("shorter: %d, %d, %d", b.ack(1000), b.ack(1001), b.seq(1001))
	}
	c := b.resized(2000, 5, false)
	if c.seq(1500) != 1497 || c.seq(2000) != 1997 || c.seq(2001) != 2003 || c.ack(1997) != 2000 {
		t.Errorf("twice: %d %d %d %d", c.seq(1500), c.seq(2000), c.seq(2001), c.ack(1997))
	}
	for _, x := range []seqAdjust{{}, a, b, c, {1 << 31, -1 << 23, -128}, {^uint32(0), 1<<23 - 1, 127}} {
		if got := unpackSeq(x.pack()); got != x {
			t.Errorf("%+v packed and unpacked is %+v", x, got)
		}
	}
}
