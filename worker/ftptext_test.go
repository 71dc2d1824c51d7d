package worker

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/ring"
)

func descOf(at uint64, n int) ring.Desc { return ring.Desc{Addr: at, Len: uint32(n)} }

func TestClientCommand(t *testing.T) {
	for _, c := range []struct {
		text string
		v6   bool
		want command
		at   string
	}{
		{"PASV\r\n", false, commandPASV, ""},
		{"PaSv\r\n", false, commandPASV, ""},
		{"PASV\r\n", true, commandOther, ""},
		{"PASV\n", false, commandOther, ""},
		{"XPASV\r\n", false, commandPASV, ""},
		{"EPSV\r\n", false, commandEPSV, ""},
		{"epsv\r\n", true, commandEPSV, ""},
		{"EPSV\r", false, commandOther, ""}, // five bytes: not looked at
		{"EPSV 1\r\n", false, commandEPSV, ""},
		{"EPSV 1\r", false, commandEPSV, ""},
		{"EPSV 1", false, commandOther, ""},
		{"EPSV 2\r\n", false, commandOther, ""},
		{"EPSV 2\r\n", true, commandEPSV, ""},
		{"EPSV 1\r\n", true, commandOther, ""},
		{"EPSV ALL\r\n", false, commandOther, ""},
		{"EPSVX\r\nPASV\r\n", false, commandPASV, ""}, // the first is no command
		{"EPSV 2\r\nPASV\r\n", false, commandOther, ""},
		{"PORT 1,2,3,4,5,6\r\n", false, commandPORT, "1.2.3.4:1286"},
		{"port1,2,3,4,5,6\r", false, commandPORT, "1.2.3.4:1286"},
		{"PORT   1,2,3,4,5,6,7\r\n", false, commandPORT, "1.2.3.4:1286"},
		{"PORTx 1,2,3,4,5,6\r\n", false, commandPORT, "1.2.3.4:1286"},
		{"PORT 1,2,3,4,5,6", false, commandOther, ""},
		{"PORT x1,2,3,4,5,6\r\n", false, commandOther, ""},
		{"PORT 1,2,3,4,5\r\n", false, commandOther, ""},
		{"PORT 1,2,3,4,5,256\r\n", false, commandOther, ""},
		{"PORT 1,2,,4,5,6\r\n", false, commandOther, ""},
		{"PORT 1,2,3,4,5,6\r\n", true, commandOther, ""},
		{"NOOP\r\nPORT 1,2,3,4,5,6\r\n", false, commandOther, ""},
		{"EPRT |1|1.2.3.4|5|\r\n", false, commandPORT, "1.2.3.4:5"},
		{"eprt  !1!1.2.3.4!65535!", false, commandPORT, "1.2.3.4:65535"},
		{"EPRT |2|fd00::1|5|\r\n", true, commandPORT, "[fd00::1]:5"},
		{"EPRT |2|fd00::1|5|\r\n", false, commandOther, ""},
		{"EPRT |1|1.2.3.4|5|\r\n", true, commandOther, ""},
		{"EPRT |1|1.2.3.4|0|\r\n", false, commandOther, ""},
		{"EPRT |1|1.2.3.4|65536|\r\n", false, commandOther, ""},
		{"EPRT |1|1.2.3.4|5\r\n", false, commandOther, ""},
		{"EPRT |1|1.2.3|5|\r\n", false, commandOther, ""},
		{"EPRT |||5|\r\n", false, commandOther, ""},
		{"EPRT 111.2.3.4151\r\n", false, commandOther, ""},
		{"EPRT |2|::ffff:1.2.3.4|5|\r\n", true, commandOther, ""},
		{"EPRT |2|fe80::1%eth0|5|\r\n", true, commandOther, ""},
		{"EPRT", false, commandOther, ""},
		{"EPRT ", false, commandOther, ""},
		{"", false, commandOther, ""},
	} {
		got, e := clientCommand([]byte(c.text), c.v6)
		at := ""
		if got == commandPORT {
			at = netip.AddrPortFrom(e.addr.Netip(), e.port).String()
		}
		if got != c.want || at != c.at {
			t.Errorf("%q, IPv6 %v: %d %s, want %d %s", c.text, c.v6, got, at, c.want, c.at)
		}
	}
}

func TestPassiveAnswer(t *testing.T) {
	home4, home6 := ip("10.2.0.11"), ip("fd00:2::11")
	for _, c := range []struct {
		text string
		mode ftpMode
		v6   bool
		at   string
		part string
	}{
		{"227 Entering Passive Mode (1,2,3,4,5,6)\r\n", ftpPASV, false, "1.2.3.4:1286", "1,2,3,4,5,6"},
		{"227 ((1,2,3,4,5,6))\r\n", ftpPASV, false, "1.2.3.4:1286", "1,2,3,4,5,6"},
		{"227 1,2,3,4,005,6.", ftpPASV, false, "1.2.3.4:1286", "1,2,3,4,005,6"},
		{"227 Ok ( 1,2,3,4,5,6)\r\n", ftpPASV, false, "", ""},
		{"227 Mode 2 (1,2,3,4,5,6)\r\n", ftpPASV, false, "", ""},
		{"229 Ok (|||5|)\r\n", ftpPASV, false, "", ""},
		{"229 Ok (|||50000|)\r\n", ftpEPSV, false, "10.2.0.11:50000", "|||50000|"},
		{"229 Ok (|||50000|)\r\n", ftpEPSV, true, "[fd00:2::11]:50000", "|||50000|"},
		{"229 Ok (|1|1.2.3.4|50000|)\r\n", ftpEPSV, false, "1.2.3.4:50000", "|1|1.2.3.4|50000|"},
		{"229 Ok (|2|fd00::9|50000|)\r\n", ftpEPSV, true, "[fd00::9]:50000", "|2|fd00::9|50000|"},
		{"229 Ok |||50000|\r\n", ftpEPSV, false, "", ""},
		{"229 Ok (||5|50000|)\r\n", ftpEPSV, false, "", ""},
		{"229 Ok (|||0|)\r\n", ftpEPSV, false, "", ""},
		{"229 Ok (|||50000)\r\n", ftpEPSV, false, "", ""},
		{"229 Ok (|||50000|", ftpEPSV, false, "10.2.0.11:50000", "|||50000|"},
		{"227 Ok (1,2,3,4,5,6)\r\n", ftpEPSV, false, "", ""},
		{"227 Ok (1,2,3,4,5,6)\r\n", ftpActive, false, "", ""},
		{"229", ftpEPSV, false, "", ""},
	} {
		home := home4
		if c.v6 {
			home = home6
		}
		e, ok := passiveAnswer([]byte(c.text), c.mode, c.v6, home)
		at, part := "", ""
		if ok {
			at, part = netip.AddrPortFrom(e.addr.Netip(), e.port).String(), c.text[e.start:e.end]
		}
		if at != c.at || part != c.part {
			t.Errorf("%q: %s %q, want %s %q", c.text, at, part, c.at, c.part)
		}
	}
}

var (
	sixText = regexp.MustCompile(`(?s)^(?:[^ \d]* +|[^ \d]*)(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)(.)`)
	extText = regexp.MustCompile(`(?s)^[^ ]* +(.*)$`)
)

// slowCommand is clientCommand in other words.
func slowCommand(text string, v6 bool) (command, netip.AddrPort) {
	b := []byte(text)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	upper := string(b)
	family := "1"
	if v6 {
		family = "2"
	}
	for i := 0; i+6 <= len(text); i++ {
		rest := upper[i:]
		switch {
		case strings.HasPrefix(rest, "PASV\r\n") && !v6:
			return commandPASV, netip.AddrPort{}
		case strings.HasPrefix(rest, "EPSV\r"), strings.HasPrefix(rest, "EPSV "+family+"\r"):
			return commandEPSV, netip.AddrPort{}
		case strings.HasPrefix(rest, "EPSV "):
			return commandOther, netip.AddrPort{}
		}
	}
	if m := sixText.FindStringSubmatch(text[min(4, len(text)):]); m != nil && strings.HasPrefix(upper, "PORT") && !v6 {
		var n [6]byte
		for i := range n {
			v, err := strconv.ParseUint(m[i+1], 10, 8)
			if err != nil {
				return commandOther, netip.AddrPort{}
			}
			n[i] = byte(v)
		}
		return commandPORT, netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5]))
	}
	if m := extText.FindStringSubmatch(text[min(4, len(text)):]); m != nil && strings.HasPrefix(upper, "EPRT") && len(m[1]) > 0 {
		d := m[1][0]
		p := strings.Split(m[1], string(rune(d)))
		if d < 33 || d > 126 || len(p) < 5 || p[1] != family {
			return commandOther, netip.AddrPort{}
		}
		a, err := netip.ParseAddr(p[2])
		if err != nil || a.Is6() != v6 || a.Is4In6() || a.Zone() != "" {
			return commandOther, netip.AddrPort{}
		}
		port, err := strconv.ParseUint(p[3], 10, 16)
		if err != nil || port == 0 {
			return commandOther, netip.AddrPort{}
		}
		return commandPORT, netip.AddrPortFrom(a, uint16(port))
	}
	return commandOther, netip.AddrPort{}
}

func FuzzClientCommand(f *testing.F) {
	for _, s := range []string{
		"PASV\r\n", "EPSV 1\r\n", "EPSV\r\n", "EPSV 2\r", "PORT 1,2,3,4,5,6\r\n", "PORTx  1,2,3,4,5,6.", "EPRT |1|1.2.3.4|5|\r\n",
		"EPRT |2|fd00::1|5|\r\n", "EPSVEPSV\r", "port0,0,0,0,0,00000,",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, v6 bool) {
		got, e := clientCommand([]byte(text), v6)
		want, at := slowCommand(text, v6)
		if got != want || got == commandPORT && at != netip.AddrPortFrom(e.addr.Netip(), e.port) {
			t.Errorf("%q: %d %v, want %d %v", text, got, e, want, at)
		}
	})
}

// Whatever the server says, what is told to the client instead can be read again and names the same port.
func FuzzPassiveAnswer(f *testing.F) {
	f.Add("227 Entering Passive Mode (1,2,3,4,5,6)\r\n", false, false)
	f.Add("229 Ok (|||50000|)\r\n", true, false)
	f.Add("229 Ok (|2|fd00::9|50000|)\r\n", true, true)
	f.Fuzz(func(t *testing.T, text string, extended, v6 bool) {
		mode, vip := ftpPASV, ip("192.0.2.10")
		if extended {
			mode = ftpEPSV
		}
		if v6 {
			vip = ip("2001:db8::10")
			mode = ftpEPSV
		}
		e, ok := passiveAnswer([]byte(text), mode, v6, vip)
		if !ok {
			return
		}
		told := text[:e.start] + string(passiveText(nil, mode, vip, e.port)) + text[e.end:]
		again, ok := passiveAnswer([]byte(told), mode, v6, vip)
		if !ok || again.port != e.port || again.addr != vip || again.start != e.start {
			t.Errorf("%q was made %q, which reads %+v", text, told, again)
		}
	})
}

// Whatever the two say, no frame is lost, nothing breaks, and what is sent on has right checksums.
func FuzzFTPSegments(f *testing.F) {
	f.Add("PASV\r\n", "227 (10,2,0,11,1,2)\r\n", byte(0x50), byte(packet.ACK))
	f.Add("PORT 1,2,3,4,5,6\r\n", "200 Ok\r\n", byte(0x60), byte(packet.ACK|packet.FIN))
	f.Add("EPSV\r\n", "229 (|||00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000080|)\r\n", byte(0xf0), byte(packet.ACK))
	f.Fuzz(func(t *testing.T, ask, answer string, off, flags byte) {
		if len(ask)+len(answer) > 1400 {
			return
		}
		x := newFTP(t, "10.1.0.1", "210.109.100.101", 21, "10.2.0.11")
		seq := uint32(1000)
		for range 2 {
			a := segment{src: x.client, dst: x.vip, sport: x.cport, dport: 21, seq: 100, ack: seq, flags: flags | packet.ACK, text: ask}.frame()
			b := segment{src: x.server, dst: x.client, sport: 21, dport: x.cport, seq: seq, ack: 100, flags: packet.ACK, text: answer}.frame()
			for i, f := range [][]byte{a, b} {
				f[14+20+12] = off
				seg := f[34:]
				seg[16], seg[17] = 0, 0
				var k packet.Tuple
				var p packet.Parsed
				packet.Parse(f, &k, &p)
				c := packet.PseudoHeader(k.Src, k.Dst, packet.ProtoTCP, len(seg)).AddBytes(seg).Checksum()
				seg[16], seg[17] = byte(c>>8), byte(c)
				for _, s := range x.in(i, f) {
					x.check(s.frame)
				}
			}
			seq += uint32(len(answer))
		}
		x.flows.Walk(func(_ flow.Ref, c *flow.Conn) bool {
			if c.VPort == 21 != (c.LoadFlags()&flow.FlagHelper != 0) {
				t.Errorf("the helper's mark on %+v", c)
			}
			return true
		})
		x.account()
	})
}
