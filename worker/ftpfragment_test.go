package worker

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// say is a segment of an FTP control connection with a text.
func say(src string, sport uint16, dst string, dport uint16, text string) []byte {
	f := tcp(src, sport, dst, dport, packet.ACK|packet.PSH, len(text))
	seg := f[34:]
	copy(seg[20:], text)
	seg[16], seg[17] = 0, 0
	binary.BigEndian.PutUint16(seg[16:], packet.PseudoHeader(ip(src), ip(dst), packet.ProtoTCP, len(seg)).AddBytes(seg).Checksum())
	return f
}

// A server's answer that came in fragments and grew leaves in fragments, all of it and no more.
func TestHelperResizesFragments(t *testing.T) {
	const vip, server, client = "10.99.100.100", "10.2.0.11", "10.1.0.1"
	r := newRig(t, 1)
	r.service(service.TCP, vip, 21, service.NAT, server)
	r.in(0, tcp(client, 1000, vip, 21, packet.SYN, 0))
	r.in(0, tcp(client, 1000, vip, 21, packet.ACK, 0))
	r.in(0, say(client, 1000, vip, 21, "PASV\r\n"))
	answer := say(server, 21, client, 1000, "227 Entering Passive Mode (10,2,0,11,200,1)"+strings.Repeat(".", 15)+"\r\n")
	var out []sent
	for _, p := range cut(answer, 40) {
		out = append(out, r.in(1, p)...)
	}
	var all []byte
	for _, s := range out {
		if off := int(binary.BigEndian.Uint16(s.frame[20:])&0x1fff) * 8; off != len(all) {
			t.Fatalf("a fragment of %d at %d", off, len(all))
		}
		all = append(all, s.frame[34:]...)
	}
	if want := []byte("(10,99,100,100,200,1)..............."); !bytes.Contains(all, want) || len(all) != len(answer)-34+4 {
		t.Errorf("sent %d fragments: %q", len(out), all)
	}
	if (packet.PseudoHeader(ip(vip), ip(client), packet.ProtoTCP, len(all)).AddBytes(all).Fold()) != 0xffff {
		t.Error("wrong checksum")
	}
	r.account()
}

// A server may offer its data at another address of its own: every packet of that connection goes there.
func TestFTPDataElsewhere(t *testing.T) {
	f := newFTP(t, "10.1.0.1", "10.9.0.1", 21, "10.2.0.11")
	f.fromClient(segment{seq: 100, ack: 1000, flags: packet.ACK, text: "PASV\r\n"})
	f.fromServer(21, segment{seq: 1000, ack: 106, flags: packet.ACK, text: "227 Entering Passive Mode (10,2,0,12,195,80).\r\n"})
	for _, flags := range []uint8{packet.SYN, packet.ACK, packet.ACK, packet.ACK} {
		if s := f.fromClient(segment{sport: 4001, dport: 50000, flags: flags}); s.dst != "10.2.0.12" || s.dport != 50000 {
			t.Errorf("flags %#x: to %s:%d", flags, s.dst, s.dport)
		}
	}
}
