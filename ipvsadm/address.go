package ipvsadm

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// address is what -t, -u, --sctp-service and -r take.
type address struct {
	family  uint8 // 4 or 6; tells ::ffff:a.b.c.d from a.b.c.d
	addr    netip.Addr
	port    uint16
	hasPort bool
}

// parseAddress understands host[:port], an IPv6 address, or [address]:port, with ipvsadm's oddities: digits alone are
// refused, a bracketed address must be followed by a port, and one that is not of IPv6 then loses it.
func (n *Names) parseAddress(s string, protocol uint8) (a address, ok bool) {
	if strings.Trim(s, "0123456789") == "" {
		return a, false
	}
	port := ""
	if rest, bracket := strings.CutPrefix(s, "["); bracket {
		s, port, ok = strings.Cut(rest, "]")
		if !ok || !strings.HasPrefix(port, ":") {
			return a, false
		}
		a.hasPort, port = true, port[1:]
	}
	if v6, err := netip.ParseAddr(s); err == nil && v6.Is6() && v6.Zone() == "" {
		a.family, a.addr = 6, v6
	} else {
		a.hasPort = false
		if i := strings.LastIndexByte(s, ':'); i >= 0 {
			s, port, a.hasPort = s[:i], s[i+1:], true
		}
		if a.addr, ok = n.parseHost(s); !ok {
			return a, false
		}
		a.family = 4
	}
	if !a.hasPort {
		return a, true
	}
	if p, ok := number(port); ok && p >= 0 && p <= math.MaxUint16 {
		a.port = uint16(p)
		return a, true
	}
	a.port, ok = n.port(port, protocol)
	return a, ok
}

// parseHost understands an IPv4 address in any of inet_aton's forms, or a host name.
func (n *Names) parseHost(s string) (netip.Addr, bool) {
	if a, ok := inetAton(s); ok {
		return a, true
	}
	if n.Host == nil || s == "" {
		return netip.Addr{}, false
	}
	return n.Host(s)
}

// inetAton is the C library's inet_aton: one to four numbers, decimal, octal (0…) or hexadecimal (0x…), the last of which
// fills the remaining bytes; what follows a blank does not count.
func inetAton(s string) (netip.Addr, bool) {
	if i := strings.IndexAny(s, " \t\n\v\f\r"); i >= 0 {
		s = s[:i]
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, part := range parts {
		if part == "" || part[0] < '0' || part[0] > '9' || strings.ContainsAny(part, "_oObB") && !isHex(part) {
			return netip.Addr{}, false
		}
		v, err := strconv.ParseUint(part, 0, 32)
		if err != nil {
			return netip.Addr{}, false
		}
		if i < len(parts)-1 {
			if v > 255 {
				return netip.Addr{}, false
			}
			sum |= v << (24 - 8*i)
			continue
		}
		if v > math.MaxUint32>>(8*i) {
			return netip.Addr{}, false
		}
		sum |= v
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

// isHex tells whether a number is written 0x…, where b is a digit; without '_', which C does not know.
func isHex(s string) bool {
	return (strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X")) && !strings.Contains(s, "_")
}
