package frame

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// Packets builds the IP packets of the line: one, or its fragments. known gives the packets that inner= may quote.
func (s *Spec) Packets(known map[string][]byte) ([][]byte, error) {
	l4, err := s.transport(known)
	if err != nil {
		return nil, err
	}
	if size := s.num("frag", 0); size > 0 {
		var out [][]byte
		for o := 0; o < len(l4); o += size {
			e := min(o+size, len(l4))
			out = append(out, s.ip(l4[o:e], o, e < len(l4), true))
		}
		if s.Keys["reverse"] != "" {
			slices.Reverse(out)
		}
		return out, nil
	}
	_, more := s.Keys["mf"]
	_, off := s.Keys["off"]
	return [][]byte{s.ip(l4, s.num("off", 0), more, more || off)}, nil
}

// Frames builds the Ethernet frames of the line.
func (s *Spec) Frames(dst, src [6]byte, known map[string][]byte) ([][]byte, error) {
	ps, err := s.Packets(known)
	if err != nil {
		return nil, err
	}
	for i, p := range ps {
		f := Ethernet(dst, src, p)
		if v := s.num("vlan", 0); v != 0 {
			f = Tag(f, uint16(v))
		}
		ps[i] = f[:max(0, len(f)-s.num("cut", 0))]
	}
	return ps, nil
}

// Ethernet puts a header in front of an IP packet.
func Ethernet(dst, src [6]byte, p []byte) []byte {
	f := append(append([]byte{}, dst[:]...), src[:]...)
	if len(p) > 0 && p[0]>>4 == 6 {
		return append(append(f, 0x86, 0xdd), p...)
	}
	return append(append(f, 0x08, 0x00), p...)
}

// Tag inserts an 802.1Q tag.
func Tag(f []byte, id uint16) []byte {
	return slices.Concat(f[:12], []byte{0x81, 0x00, byte(id >> 8), byte(id)}, f[12:])
}

// transport is what follows the IP header.
func (s *Spec) transport(known map[string][]byte) ([]byte, error) {
	proto, _ := s.number()
	data := make([]byte, s.num("len", 0))
	for i := range data {
		data[i] = byte('a' + i%26)
	}
	if v, ok := s.Keys["pay"]; ok {
		data = []byte(strings.ReplaceAll(v, "~", "\r\n"))
	}
	var h []byte
	sum := -1 // offset of the checksum
	switch s.Proto {
	case "tcp":
		opts, err := hex.DecodeString(s.Keys["opts"])
		if err != nil {
			return nil, fmt.Errorf("packet: opts: %w", err)
		}
		h = s.ports(20 + len(opts))
		binary.BigEndian.PutUint32(h[4:], uint32(s.num("seq", 1000)))
		binary.BigEndian.PutUint32(h[8:], uint32(s.num("ack", 0)))
		h[12] = byte((20 + len(opts)) / 4 << 4)
		for _, c := range s.Flags {
			h[13] |= map[rune]byte{'F': 1, 'S': 2, 'R': 4, 'P': 8, 'A': 16, '.': 16, 'U': 32, 'E': 64, 'C': 128}[c]
		}
		binary.BigEndian.PutUint16(h[14:], uint16(s.num("win", 64240)))
		copy(h[20:], opts)
		sum = 16
	case "udp":
		h = s.ports(8)
		binary.BigEndian.PutUint16(h[4:], uint16(8+len(data)))
		sum = 6
	case "sctp":
		h, data = s.sctp(), nil
	case "icmp", "icmp6":
		h = make([]byte, 8)
		h[0], h[1] = byte(s.num("type", 8)), byte(s.num("code", 0))
		if s.Proto == "icmp" {
			binary.BigEndian.PutUint16(h[4:], uint16(s.num("icmpid", 0)))
			binary.BigEndian.PutUint16(h[6:], uint16(s.num("mtu", s.num("icmpseq", 0))))
		} else {
			binary.BigEndian.PutUint32(h[4:], uint32(s.num("mtu", 0)))
		}
		if _, ok := s.Keys["rest"]; ok {
			binary.BigEndian.PutUint32(h[4:], uint32(s.num("rest", 0)))
		}
		if name, ok := s.Keys["inner"]; ok {
			q := known[name]
			if q == nil {
				return nil, fmt.Errorf("packet: inner: there is no packet %q yet", name)
			}
			n := s.num("q", 28)
			if s.Src.Addr().Is6() {
				n = s.num("q", 88)
			}
			data = slices.Clone(q[:min(n, len(q))])
		}
		sum = 2
	default:
		var err error
		if h, err = hex.DecodeString(s.Keys["body"]); err != nil {
			return nil, fmt.Errorf("packet: body: %w", err)
		}
		if s.Proto == "esp" || s.Proto == "ah" {
			h = append([]byte{0, 0, 0x12, 0x34, 0, 0, 0, 1}, h...)
		}
	}
	b := append(h, data...)
	if sum >= 0 {
		var c uint16
		if s.Proto == "icmp" {
			c = Checksum(b, 0)
		} else {
			c = Checksum(b, Pseudo(s.Src.Addr().AsSlice(), s.Dst.Addr().AsSlice(), proto, len(b)))
		}
		if s.Proto == "udp" && c == 0 {
			c = 0xffff
		}
		switch s.Keys["csum"] {
		case "zero":
			c = 0
		case "bad":
			c ^= 0x5555
		}
		binary.BigEndian.PutUint16(b[sum:], c)
	}
	return b, nil
}

// ports is a header of n bytes that begins with the ports.
func (s *Spec) ports(n int) []byte {
	h := make([]byte, n)
	binary.BigEndian.PutUint16(h, s.Src.Port())
	binary.BigEndian.PutUint16(h[2:], s.Dst.Port())
	return h
}

// sctp is a packet of one chunk.
func (s *Spec) sctp() []byte {
	kind, body := byte(s.num("chunk", 1)), 4
	if kind == 1 || kind == 2 {
		body = 16
	}
	b := append(s.ports(12), make([]byte, 4+body)...)
	binary.BigEndian.PutUint32(b[4:], uint32(s.num("vtag", 1)))
	b[12] = kind
	binary.BigEndian.PutUint16(b[14:], uint16(4+body))
	if body == 16 {
		binary.BigEndian.PutUint32(b[16:], 7)
		binary.BigEndian.PutUint32(b[20:], 65536)
		binary.BigEndian.PutUint16(b[24:], 10)
		binary.BigEndian.PutUint16(b[26:], 10)
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// ip puts the IP header in front of a transport packet or a fragment of one; off counts bytes.
func (s *Spec) ip(part []byte, off int, more, fragment bool) []byte {
	proto, _ := s.number()
	id := s.num("id", 0x1234)
	if s.Src.Addr().Is6() {
		next := proto
		if n := s.num("exthdr", 0); n > 0 {
			e := make([]byte, 8*n)
			e[0], e[1], e[2], e[3] = next, byte(n-1), 1, byte(8*n-4) // PadN over the whole header
			part, next = append(e, part...), 60
		}
		if fragment {
			e := make([]byte, 8)
			e[0] = next
			o := uint16(off)
			if more {
				o |= 1
			}
			binary.BigEndian.PutUint16(e[2:], o)
			binary.BigEndian.PutUint32(e[4:], uint32(id))
			part, next = append(e, part...), 44
		}
		h := make([]byte, 40)
		tos := s.num("tos", 0)
		h[0], h[1] = 0x60|byte(tos>>4), byte(tos<<4)
		binary.BigEndian.PutUint16(h[4:], uint16(s.num("iplen", len(part))))
		h[6], h[7] = next, byte(s.num("ttl", 64))
		copy(h[8:], s.Src.Addr().AsSlice())
		copy(h[24:], s.Dst.Addr().AsSlice())
		return append(h, part...)
	}
	opts, _ := hex.DecodeString(s.Keys["ipopts"])
	n := 20 + (len(opts)+3)&^3
	h := make([]byte, n)
	h[0], h[1] = 0x40|byte(n/4), byte(s.num("tos", 0))
	binary.BigEndian.PutUint16(h[2:], uint16(s.num("iplen", n+len(part))))
	binary.BigEndian.PutUint16(h[4:], uint16(id))
	fo := uint16(off / 8)
	if more {
		fo |= 0x2000
	}
	if s.num("df", 0) == 1 {
		fo |= 0x4000
	}
	binary.BigEndian.PutUint16(h[6:], fo)
	h[8], h[9] = byte(s.num("ttl", 64)), proto
	copy(h[12:], s.Src.Addr().AsSlice())
	copy(h[16:], s.Dst.Addr().AsSlice())
	copy(h[20:], opts)
	c := Checksum(h, 0)
	if s.Keys["ipcsum"] == "bad" {
		c ^= 0x5555
	}
	binary.BigEndian.PutUint16(h[10:], c)
	return append(h, part...)
}

// Pseudo is the sum of a pseudo header.
func Pseudo(src, dst []byte, proto uint8, length int) uint32 {
	sum := uint32(proto) + uint32(length)
	for _, a := range [][]byte{src, dst} {
		for i := 0; i < len(a); i += 2 {
			sum += uint32(a[i])<<8 | uint32(a[i+1])
		}
	}
	return sum
}

// Checksum is the Internet checksum of b, begun with sum, word by word.
func Checksum(b []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
