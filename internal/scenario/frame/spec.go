package frame

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Spec is a parsed line.
type Spec struct {
	Proto    string
	Src, Dst netip.AddrPort
	Flags    string
	Keys     map[string]string
}

var protocols = map[string]uint8{"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmp6": 58, "sctp": 132}

var keys = " len pay ttl tos id df mf ipopts exthdr seq ack win opts type code rest mtu icmpid icmpseq inner q chunk vtag " +
	"body csum ipcsum frag off reverse cut iplen vlan "

// Parse reads the words of a line.
func Parse(w []string) (*Spec, error) {
	if len(w) < 4 || w[2] != ">" {
		return nil, fmt.Errorf("packet %q: want PROTO SRC > DST …", strings.Join(w, " "))
	}
	s := &Spec{Proto: w[0], Keys: map[string]string{}}
	if _, ok := s.number(); !ok {
		return nil, fmt.Errorf("packet: protocol %q is not known", w[0])
	}
	var err error
	if s.Src, err = Address(w[1]); err != nil {
		return nil, err
	}
	if s.Dst, err = Address(w[3]); err != nil {
		return nil, err
	}
	if s.Src.Addr().Is4() != s.Dst.Addr().Is4() {
		return nil, fmt.Errorf("packet: %s and %s are of two families", w[1], w[3])
	}
	for _, x := range w[4:] {
		k, v, ok := strings.Cut(x, "=")
		switch {
		case !ok && s.Proto == "tcp" && strings.Trim(x, "SAFRPUEC.") == "":
			s.Flags = x
			continue
		case !ok:
			v = "1"
		}
		if !strings.Contains(keys, " "+k+" ") {
			return nil, fmt.Errorf("packet: %q is not known", x)
		}
		s.Keys[k] = v
	}
	return s, nil
}

// Address reads ADDR, ADDR:PORT, [ADDR]:PORT or [ADDR].
func Address(s string) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap, nil
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("address %q: want ADDR or ADDR:PORT", s)
	}
	return netip.AddrPortFrom(a, 0), nil
}

// number is the IP protocol number.
func (s *Spec) number() (uint8, bool) {
	if n, ok := protocols[s.Proto]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(s.Proto, 0, 8)
	return uint8(n), err == nil
}

// Next gives the next packet of the line the next IP id.
func (s *Spec) Next() { s.Keys["id"] = strconv.Itoa((s.num("id", 0x1234) + 1) & 0xffff) }

// num is a key's number, or the default.
func (s *Spec) num(key string, otherwise int) int {
	n, err := strconv.ParseInt(s.Keys[key], 0, 64)
	if err != nil {
		return otherwise
	}
	return int(n)
}
