package replay_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/fastlb/fastlb/internal/scenario/frame"
)

// compareFrames compares what was sent with the recording, side by side: the recorder read one side after the other.
func (p *player) compareFrames(want []wire) {
	for _, side := range []string{"c", "r"} {
		w, g := pick(want, side), pick(p.out, side)
		var ws, gs []string
		same := len(w) == len(g)
		for i := range max(len(w), len(g)) {
			var a, b []byte
			if i < len(w) {
				a = masked(w[i].Hex)
				ws = append(ws, frame.Describe(a))
			}
			if i < len(g) {
				b = masked(g[i].Hex)
				gs = append(gs, frame.Describe(b))
			}
			if a != nil && b != nil && !slices.Equal(a, b) {
				same = false
				if ws[i] == gs[i] { // the words do not show it
					at := 0
					for at < min(len(a), len(b)) && a[at] == b[at] {
						at++
					}
					ws[i] += fmt.Sprintf("\n  %d bytes, from %d: %x", len(a), at, a[at:min(at+16, len(a))])
					gs[i] += fmt.Sprintf("\n  %d bytes, from %d: %x", len(b), at, b[at:min(at+16, len(b))])
				}
			}
		}
		if !same {
			p.fault("frames on "+side, strings.Join(ws, "\n"), strings.Join(gs, "\n"))
		}
	}
}

// compareTexts is compareFrames where the recorder kept no bytes.
func (p *player) compareTexts() {
	for _, side := range []string{"c", "r"} {
		var w, g []string
		for _, x := range pick(p.step.Out, side) {
			w = append(w, maskedText(x.Txt))
		}
		for _, x := range pick(p.out, side) {
			g = append(g, maskedText(x.Txt))
		}
		if !slices.Equal(w, g) {
			p.fault("frames on "+side, strings.Join(w, "\n"), strings.Join(g, "\n"))
		}
	}
}

func pick(l []wire, side string) (out []wire) {
	for _, x := range l {
		if x.If == side {
			out = append(out, x)
		}
	}
	return out
}

// made tells whether the director made this IP packet itself, rather than passing one on: an ICMP error of its own, or
// a tunnel's outer packet.
func made(ip []byte) bool {
	if ip[0]>>4 == 4 {
		return ip[9] == 1 && ip[8] == 64 && ip[1]&0xe0 == 0xc0 || ownAddress(ip[12:16])
	}
	return ip[6] == 58 && ip[7] == 64 || ownAddress(ip[8:24])
}

// ownAddress tells whether a tunnel's outer packet may come from it.
func ownAddress(b []byte) bool {
	a, _ := netip.AddrFromSlice(b)
	return a == netip.MustParseAddr("10.2.0.254") || a == netip.MustParseAddr("fd00:2::fe")
}

// masked blanks what the kernel chooses at random in packets that it makes: the IPv4 id (where DF is not set) with the
// header checksum, the IPv6 flow label (a hash with a key of the boot's) and fragment id, the source port of GUE with the
// checksum that covers it.
func masked(text string) []byte {
	f, _ := hex.DecodeString(text)
	if len(f) < 34 || !made(f[14:]) {
		return f
	}
	ip := f[14:]
	var l4 []byte
	proto, first := ip[6], true
	if ip[0]>>4 == 4 {
		fo := binary.BigEndian.Uint16(ip[6:])
		if fo&0x4000 == 0 {
			copy(ip[4:], []byte{0, 0})
			copy(ip[10:], []byte{0, 0})
		}
		proto, first, l4 = ip[9], fo&0x1fff == 0, ip[int(ip[0]&15)*4:]
	} else {
		ip[1] &= 0xf0
		ip[2], ip[3] = 0, 0
		l4 = ip[40:]
		if proto == 44 {
			copy(l4[4:], []byte{0, 0, 0, 0})
			proto, first, l4 = l4[0], binary.BigEndian.Uint16(l4[2:])&^7 == 0, l4[8:]
		}
	}
	if proto == 17 && first && len(l4) >= 8 && binary.BigEndian.Uint16(l4[2:]) == 6080 {
		copy(l4, []byte{0, 0})
		if l4[6]|l4[7] != 0 {
			copy(l4[6:], []byte{0xff, 0xff})
		}
	}
	return f
}

var (
	randomID  = regexp.MustCompile(`^(\S+ (?:(?:ipip|gre) (?:10\.2\.0\.254|fd00:2::fe)|udp (?:10\.2\.0\.254|\[fd00:2::fe\]):\d+|icmp1 \S+ > \S+ type=\d+ code=\d+ rest=[0-9a-f]+ \(ttl=64 tos=19)[^/\[]*?id=)\d+([^)]*\))`)
	randomGUE = regexp.MustCompile(`^(\S+ udp (?:10\.2\.0\.254|\[fd00:2::fe\])):\d+( > \S+:6080 ulen=\d+ csum)=[0-9a-f]+`)
)

// maskedText is masked for a description.
func maskedText(s string) string {
	if m := randomID.FindStringSubmatch(s); m != nil && !strings.Contains(m[2], " df") {
		s = m[1] + "0" + m[2] + s[len(m[0]):]
	}
	return randomGUE.ReplaceAllString(s, "$1:0$2=0")
}
