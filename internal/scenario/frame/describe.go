package frame

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Describe is a line about an Ethernet frame, in the recorder's words: MACs, then the packet.
func Describe(f []byte) string {
	if len(f) < 14 {
		return fmt.Sprintf("frame of %d bytes", len(f))
	}
	tag, p := "", f[14:]
	for binary.BigEndian.Uint16(f[len(f)-len(p)-2:]) == 0x8100 && len(p) >= 4 {
		tag += fmt.Sprintf("vlan=%d ", binary.BigEndian.Uint16(p)&0xfff)
		p = p[4:]
	}
	return fmt.Sprintf("%x>%x %s%s", f[6:12], f[0:6], tag, Packet(p))
}

// Packet is a line about an IP packet.
func Packet(p []byte) string { return describe(p, 0) }

// header is what describe needs of an IP header.
type header struct {
	src, dst netip.Addr
	proto    int
	length   int // of the header
	off      int // fragment offset, bytes
	text     string
}

func parse4(b []byte) (h header) {
	h.length, h.proto = int(b[0]&15)*4, int(b[9])
	h.src, _ = netip.AddrFromSlice(b[12:16])
	h.dst, _ = netip.AddrFromSlice(b[16:20])
	fo := binary.BigEndian.Uint16(b[6:])
	h.off = int(fo&0x1fff) * 8
	h.text = fmt.Sprintf("ttl=%d tos=%d id=%d len=%d", b[8], b[1], binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[2:]))
	if fo&0x4000 != 0 {
		h.text += " df"
	}
	if fo&0x2000 != 0 {
		h.text += " mf"
	}
	if h.off > 0 {
		h.text += fmt.Sprintf(" off=%d", h.off)
	}
	if len(b) >= h.length && Checksum(b[:h.length], 0) != 0 {
		h.text += " BADIPCSUM"
	}
	return h
}

func parse6(b []byte) (h header) {
	h.length, h.proto = 40, int(b[6])
	h.src, _ = netip.AddrFromSlice(b[8:24])
	h.dst, _ = netip.AddrFromSlice(b[24:40])
	h.text = fmt.Sprintf("hlim=%d tc=%d plen=%d", b[7], (int(b[0])&15)<<4|int(b[1])>>4, binary.BigEndian.Uint16(b[4:]))
	if h.proto == 60 && len(b) >= h.length+8 { // destination options
		n := 8 + 8*int(b[h.length+1])
		h.proto, h.length = int(b[h.length]), h.length+n
		h.text += fmt.Sprintf(" dstopts=%d", n)
	}
	if h.proto == 44 && len(b) >= h.length+8 {
		o := binary.BigEndian.Uint16(b[h.length+2:])
		h.proto, h.off = int(b[h.length]), int(o&^7)
		h.length += 8
		h.text += fmt.Sprintf(" frag off=%d m=%d", h.off, o&1)
	}
	return h
}

// Text is the payload of a TCP packet that is lines of text, with ~ for CR LF; "" of any other.
func Text(p []byte) string {
	if len(p) < 20 {
		return ""
	}
	var h header
	if p[0]>>4 == 4 {
		h = parse4(p)
	} else if len(p) >= 40 {
		h = parse6(p)
	}
	if h.proto != 6 || h.off > 0 || len(p) < h.length+20 {
		return ""
	}
	l := p[h.length:]
	data := string(l[min(int(l[12]>>4)*4, len(l)):])
	if !strings.HasSuffix(data, "\r\n") {
		return ""
	}
	data = strings.ReplaceAll(data, "\r\n", "~")
	for _, c := range []byte(data) {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	return data
}

func describe(b []byte, depth int) string {
	if len(b) < 20 || depth > 3 {
		return fmt.Sprintf("short(%d)", len(b))
	}
	var h header
	if b[0]>>4 == 4 {
		h = parse4(b)
	} else {
		if len(b) < 40 {
			return "short6"
		}
		h = parse6(b)
	}
	if h.off > 0 {
		return fmt.Sprintf("proto%d %s > %s (%s)", h.proto, h.src, h.dst, h.text)
	}
	l := b[min(h.length, len(b)):]
	port := func(i int) int {
		if len(l) < i+2 {
			return -1
		}
		return int(binary.BigEndian.Uint16(l[i:]))
	}
	ends := fmt.Sprintf("%s > %s", end(h.src, port(0)), end(h.dst, port(2)))
	switch h.proto {
	case 6:
		flags, numbers := "", ""
		if len(l) > 13 {
			for i, c := range "FSRPAUEC" {
				if l[13]>>i&1 == 1 {
					flags += string(c)
				}
			}
		}
		if len(l) >= 20 {
			numbers = fmt.Sprintf(" seq=%d ack=%d", binary.BigEndian.Uint32(l[4:]), binary.BigEndian.Uint32(l[8:]))
		}
		return fmt.Sprintf("tcp %s %s%s (%s)", ends, flags, numbers, h.text)
	case 17:
		return fmt.Sprintf("udp %s ulen=%d csum=%04x (%s)", ends, port(4), port(6), h.text) + gue(l, port(2), depth)
	case 132:
		chunk := -1
		if len(l) > 12 {
			chunk = int(l[12])
		}
		return fmt.Sprintf("sctp %s chunk=%d (%s)", ends, chunk, h.text)
	case 1, 58:
		return icmp(l, &h, depth)
	case 4, 41:
		return fmt.Sprintf("ipip %s > %s (%s) / %s", h.src, h.dst, h.text, describe(l, depth+1))
	case 47:
		if len(l) < 4 {
			return "gre short"
		}
		n := 4
		for _, bit := range []byte{0x80, 0x20, 0x10} {
			if l[0]&bit != 0 {
				n += 4
			}
		}
		n = min(n, len(l))
		return fmt.Sprintf("gre %s > %s (%s) gre(%x) / %s", h.src, h.dst, h.text, l[:n], describe(l[n:], depth+1))
	}
	return fmt.Sprintf("proto%d %s > %s (%s)", h.proto, h.src, h.dst, h.text)
}

// gue describes what a datagram to the port that the tests use for GUE carries.
func gue(l []byte, port, depth int) string {
	if port != 6080 || len(l) <= 12 {
		return ""
	}
	g := l[8:]
	switch g[0] >> 6 {
	case 0:
		n := min(4+int(g[0]&0x1f)*4, len(g))
		s := fmt.Sprintf(" gue(hlen=%d ctl=%d proto=%d flags=%02x%02x hex=%x)", g[0]&0x1f, g[0]>>5&1, g[1], g[2], g[3], g[:n])
		if len(g) > n && (g[1] == 4 || g[1] == 41) {
			s += " / " + describe(g[n:], depth+1)
		}
		return s
	case 1:
		return " gue1 / " + describe(g, depth+1)
	}
	return ""
}

func icmp(l []byte, h *header, depth int) string {
	if len(l) < 8 {
		return fmt.Sprintf("icmp %s > %s short (%s)", h.src, h.dst, h.text)
	}
	s := fmt.Sprintf("icmp%d %s > %s type=%d code=%d rest=%x (%s)", h.proto, h.src, h.dst, l[0], l[1], l[4:8], h.text)
	if h.proto == 1 && Checksum(l, 0) != 0 ||
		h.proto == 58 && Checksum(l, Pseudo(h.src.AsSlice(), h.dst.AsSlice(), 58, len(l))) != 0 {
		s += " BADICMPCSUM"
	}
	if h.proto == 1 && (l[0] == 3 || l[0] == 4 || l[0] == 5 || l[0] == 11 || l[0] == 12) || h.proto == 58 && l[0] < 128 {
		s += " [" + describe(l[8:], depth+1) + "]"
	}
	return s
}

// end is an address with its port.
func end(a netip.Addr, port int) string {
	if a.Is6() {
		return fmt.Sprintf("[%s]:%d", a, port)
	}
	return fmt.Sprintf("%s:%d", a, port)
}
