package twin

// sum is the Internet checksum of b (RFC 1071): 0 over data that contains its own right checksum.
func sum(b []byte) uint16 { return ^fold(words(b)) }

func words(b []byte) (s uint64) {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint64(be.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		s += uint64(b[len(b)-1]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// pseudo is the sum of a packet's pseudo-header.
func pseudo(p *ip, proto, length int) uint64 {
	return words(p.src.AsSlice()) + words(p.dst.AsSlice()) + uint64(proto) + uint64(length)
}

// change is RFC 1624 equation 3: the checksum that stays as right, or as wrong, as it was when from becomes to.
func change(old uint16, from, to []byte) uint16 {
	s := uint64(^old)
	for i := 0; i+1 < len(from); i += 2 {
		s += uint64(^be.Uint16(from[i:]))
	}
	return ^fold(s + words(to))
}

// headerSum puts the right checksum into an IPv4 header.
func headerSum(b []byte) {
	hl := int(b[0]&15) * 4
	if hl > len(b) {
		hl = len(b)
	}
	b[10], b[11] = 0, 0
	be.PutUint16(b[10:], sum(b[:hl]))
}
