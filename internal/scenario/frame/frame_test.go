package frame

import (
	"strings"
	"testing"
)

var (
	to   = [6]byte{2, 0, 0, 0, 0, 1}
	from = [6]byte{2, 0, 0, 0, 0, 2}
)

func TestLines(t *testing.T) {
	known := map[string][]byte{}
	for _, c := range []struct{ line, want string }{
		{"tcp 10.0.0.1:1 > 10.0.0.2:80 SA seq=5 ack=6 len=3 df", "tcp 10.0.0.1:1 > 10.0.0.2:80 SA seq=5 ack=6 (ttl=64 tos=0 id=4660 len=43 df)"},
		{"tcp 10.0.0.1:1 > 10.0.0.2:80 S vlan=7 ttl=3 tos=8 id=9", "vlan=7 tcp 10.0.0.1:1 > 10.0.0.2:80 S seq=1000 ack=0 (ttl=3 tos=8 id=9 len=40)"},
		{"tcp 10.0.0.1:1 > 10.0.0.2:80 S ipcsum=bad ipopts=94040000", "tcp 10.0.0.1:1 > 10.0.0.2:80 S seq=1000 ack=0 (ttl=64 tos=0 id=4660 len=44 BADIPCSUM)"},
		{"udp [fd00::1]:1 > [fd00::2]:53 pay=hi~", "udp [fd00::1]:1 > [fd00::2]:53 ulen=12 csum=9028 (hlim=64 tc=0 plen=12)"},
		{"udp [fd00::1]:1 > [fd00::2]:53 csum=zero exthdr=2", "udp [fd00::1]:1 > [fd00::2]:53 ulen=8 csum=0000 (hlim=64 tc=0 plen=24 dstopts=16)"},
		{"icmp 10.0.0.9 > 10.0.0.1 type=3 code=4 mtu=1300 inner=x", "icmp1 10.0.0.9 > 10.0.0.1 type=3 code=4 rest=00000514 (ttl=64 tos=0 id=4660 len=56) [udp 10.0.0.1:1 > 10.0.0.2:53 ulen=16 csum=5a00 (ttl=64 tos=0 id=4660 len=36)]"},
		{"icmp 10.0.0.9 > 10.0.0.1 csum=bad", "icmp1 10.0.0.9 > 10.0.0.1 type=8 code=0 rest=00000000 (ttl=64 tos=0 id=4660 len=28) BADICMPCSUM"},
		{"icmp6 fd00::9 > fd00::1 type=1 code=4", "icmp58 fd00::9 > fd00::1 type=1 code=4 rest=00000000 (hlim=64 tc=0 plen=8) [short(0)]"},
		{"sctp 10.0.0.1:1 > 10.0.0.2:9 chunk=7", "sctp 10.0.0.1:1 > 10.0.0.2:9 chunk=7 (ttl=64 tos=0 id=4660 len=40)"},
		{"99 10.0.0.1 > 10.0.0.2 body=0102 off=16 mf", "proto99 10.0.0.1 > 10.0.0.2 (ttl=64 tos=0 id=4660 len=22 mf off=16)"},
		{"esp 10.0.0.1 > 10.0.0.2", "proto50 10.0.0.1 > 10.0.0.2 (ttl=64 tos=0 id=4660 len=28)"},
	} {
		u, _ := Parse(strings.Fields("udp 10.0.0.1:1 > 10.0.0.2:53 len=8"))
		p, _ := u.Packets(nil)
		known["x"] = p[0]
		s, err := Parse(strings.Fields(c.line))
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		f, err := s.Frames(to, from, known)
		if err != nil || len(f) != 1 {
			t.Errorf("%s: %d frames, %v", c.line, len(f), err)
			continue
		}
		if got, want := Describe(f[0]), "020000000002>020000000001 "+c.want; got != want {
			t.Errorf("%s\ngot  %s\nwant %s", c.line, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for line, want := range map[string]string{
		"tcp|10.0.0.1:1|>|10.0.0.2:21|PA|pay=PORT 1,2~":          "PORT 1,2~",
		"tcp|[fd00::1]:1|>|[fd00::2]:21|PA|opts=01010101|pay=x~": "x~",
		"tcp|10.0.0.1:1|>|10.0.0.2:21|PA|pay=PORT":               "",
		"tcp|10.0.0.1:1|>|10.0.0.2:21|PA|pay=\x01~":              "",
		"tcp|10.0.0.1:1|>|10.0.0.2:21|PA":                        "",
		"udp|10.0.0.1:1|>|10.0.0.2:21|pay=x~":                    "",
	} {
		s, err := Parse(strings.Split(line, "|"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Packets(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := Text(p[0]); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestFragments(t *testing.T) {
	for line, want := range map[string]string{
		"udp 10.0.0.1:1 > 10.0.0.2:53 len=30 frag=16 reverse": "len=26 off=32|len=36 mf off=16|len=36 mf",
		"udp [fd00::1]:1 > [fd00::2]:53 len=30 frag=32":       "plen=40 frag off=0 m=1|plen=14 frag off=32 m=0",
	} {
		s, err := Parse(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.Packets(nil)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(want, "|")
		if len(all) != len(parts) {
			t.Fatalf("%s: %d fragments", line, len(all))
		}
		for i, p := range all {
			if got := Packet(p); !strings.Contains(got, parts[i]) {
				t.Errorf("%s: fragment %d: %s, want %s", line, i, got, parts[i])
			}
		}
	}
}

func TestFaults(t *testing.T) {
	for _, line := range []string{
		"tcp 10.0.0.1:1", "tcp 10.0.0.1:1 < 10.0.0.2:2 S", "what 10.0.0.1 > 10.0.0.2", "tcp 10.0.0 > 10.0.0.2:1", "tcp 10.0.0.1:1 > host:1",
		"tcp 10.0.0.1:1 > [fd00::1]:1", "tcp 10.0.0.1:1 > 10.0.0.2:2 colour=red", "udp 10.0.0.1:1 > 10.0.0.2:2 S",
	} {
		if _, err := Parse(strings.Fields(line)); err == nil {
			t.Errorf("%s: no error", line)
		}
	}
	for _, line := range []string{
		"icmp 10.0.0.1 > 10.0.0.2 inner=none", "tcp 10.0.0.1:1 > 10.0.0.2:2 opts=xyz", "gre 10.0.0.1 > 10.0.0.2 body=x",
	} {
		s, err := Parse(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Packets(nil); err == nil {
			t.Errorf("%s: no error", line)
		}
	}
}
