package conformance

import (
	"encoding/binary"
	"regexp"
	"slices"
)

// made tells whether the director made the packet: an answer or error of its own, or a tunnel's outer packet. What it
// passes on is at least one hop old, and cases send nothing with a TTL above 64.
func made(ip []byte) bool {
	src, _ := endpoints(ip)
	if ip[0]>>4 == 4 {
		return own(src) && (ip[8] == 64 || ip[9] != 1 && ip[9] != 6) || ip[9] == 1 && ip[8] == 64
	}
	return own(src) || ip[6] == 58 && ip[7] == 64
}

// masked is a frame without what the kernel chooses at random in packets that it makes: the IPv4 id (where DF is not set)
// with the header checksum, the IPv6 flow label and fragment id, the source port of GUE with the checksum that covers it. The
// fragments of what it passes on are of its making in IPv6.
func masked(f []byte) []byte {
	if len(f) < 34 {
		return f
	}
	if !made(f[14:]) {
		if f[14]>>4 == 6 && f[20] == 44 && len(f) >= 62 {
			f = slices.Clone(f)
			copy(f[58:], []byte{0, 0, 0, 0})
		}
		return f
	}
	f = slices.Clone(f)
	ip := f[14:]
	proto, first := ip[6], true
	var l4 []byte
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
	if proto == 17 && first && len(l4) >= 8 && binary.BigEndian.Uint16(l4[2:]) == guePort {
		copy(l4, []byte{0, 0})
		if l4[6]|l4[7] != 0 {
			copy(l4[6:], []byte{0xff, 0xff})
		}
	}
	return f
}

// guePort is where GUE is sent in all cases.
const guePort = 6080

var size = regexp.MustCompile(`\(size=\d+\)`)

// listing is what ipvsadm printed, without the size of the kernel's hash table, which grows with its load.
func listing(s string) string { return size.ReplaceAllString(s, "(size=N)") }
