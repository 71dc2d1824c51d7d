package service

import (
	"encoding/binary"
	"net/netip"

	"github.com/fastlb/fastlb/packet"
)

// rule is a Mark in the form that packets are compared with.
type rule struct {
	addr, mask packet.Addr
	mark       uint32
	proto      uint8
	family     uint8 // 0: any destination
	ports      []uint16
}

// compile converts the marks.
func compile(marks []Mark) []rule {
	rules := make([]rule, 0, len(marks))
	for _, m := range marks {
		r := rule{mark: m.Mark, proto: m.Protocol, ports: m.Ports}
		if m.Destination.IsValid() {
			r.mask = prefixMask(m.Destination)
			a := packet.AddrFrom(m.Destination.Addr())
			r.addr = packet.Addr{Hi: a.Hi & r.mask.Hi, Lo: a.Lo & r.mask.Lo}
			r.family = family(m.Destination.Addr())
		}
		rules = append(rules, r)
	}
	return rules
}

// prefixMask is the mask of a prefix in the 16-byte form.
func prefixMask(p netip.Prefix) packet.Addr {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	var b [16]byte
	for i := range b {
		b[i] = ^byte(0) << (8 - min(max(bits-8*i, 0), 8))
	}
	return packet.Addr{Hi: binary.NativeEndian.Uint64(b[:]), Lo: binary.NativeEndian.Uint64(b[8:])}
}

// family is 4 or 6.
func family(a netip.Addr) uint8 {
	if a.Is4() || a.Is4In6() {
		return 4
	}
	return 6
}

// match tells whether a packet addressed to dst:dport has the rule's mark.
func (r *rule) match(dst packet.Addr, proto uint8, dport uint16) bool {
	if r.proto != 0 && r.proto != proto {
		return false
	}
	if r.family != 0 {
		if (r.family == 4) != dst.Is4() || dst.Hi&r.mask.Hi != r.addr.Hi || dst.Lo&r.mask.Lo != r.addr.Lo {
			return false
		}
	}
	if len(r.ports) == 0 {
		return true
	}
	for _, p := range r.ports {
		if p == dport {
			return true
		}
	}
	return false
}

// MarkOf is the firewall mark of a packet by what it is addressed to (the first of Marks that matches); 0: none.
func (s *Snapshot) MarkOf(dst packet.Addr, proto uint8, dport uint16) uint32 {
	for i := range s.rules {
		if s.rules[i].match(dst, proto, dport) {
			return s.rules[i].mark
		}
	}
	return 0
}
