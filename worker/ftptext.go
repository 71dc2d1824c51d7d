package worker

import (
	"net/netip"

	"github.com/fastlb/fastlb/packet"
)

// endpoint is an address and port as the text of an FTP command or answer gives it: at [start, end) of that text.
type endpoint struct {
	addr       packet.Addr
	port       uint16
	start, end int
}

// command is what a client's segment asks for, as far as it matters here.
type command uint8

const (
	commandOther command = iota
	commandPASV          // the server shall listen, and say where: "227 … (h1,h2,h3,h4,p1,p2)"
	commandEPSV          // the same of RFC 2428: "229 … (|||port|)"
	commandPORT          // the client listens: "PORT h1,…,p2" or "EPRT |net|addr|port|"
)

// clientCommand reads the payload of a client's segment (spec/connections.md 15.1): PASV and EPSV are looked for at every
// offset, PORT and EPRT at the beginning only.
func clientCommand(b []byte, v6 bool) (command, endpoint) {
	for i := 0; i+6 <= len(b); i++ {
		if !v6 && foldPrefix(b[i:], "PASV\r\n") {
			return commandPASV, endpoint{}
		}
		if !foldPrefix(b[i:], "EPSV") || b[i+4] != ' ' && b[i+4] != '\r' {
			continue
		}
		if b[i+4] == ' ' && (i+7 > len(b) || b[i+5] != netDigit(v6) || b[i+6] != '\r') {
			return commandOther, endpoint{} // of another family, or EPSV ALL
		}
		return commandEPSV, endpoint{}
	}
	var e endpoint
	ok := false
	if !v6 && foldPrefix(b, "PORT") {
		e, ok = sixNumbers(b, skipTo(b, 4, ' '))
	} else if foldPrefix(b, "EPRT") {
		e, ok = extended(b, skipPast(b, 4, ' '), v6, packet.Addr{}, false)
	}
	if !ok {
		return commandOther, endpoint{}
	}
	return commandPORT, e
}

// passiveAnswer reads the payload of a server's segment that may answer PASV or EPSV, for which mode is set
// (spec/connections.md 15.2). home is the address that an answer without one means.
func passiveAnswer(b []byte, mode ftpMode, v6 bool, home packet.Addr) (endpoint, bool) {
	switch {
	case mode == ftpPASV && foldPrefix(b, "227 "):
		return sixNumbers(b, skipTo(b, 4, '('))
	case mode == ftpEPSV && foldPrefix(b, "229 "):
		return extended(b, skipPast(b, 4, '('), v6, home, true)
	}
	return endpoint{}, false
}

func netDigit(v6 bool) byte {
	if v6 {
		return '2'
	}
	return '1'
}

// foldPrefix tells whether b begins with want, which is upper case, without regard to ASCII case.
func foldPrefix(b []byte, want string) bool {
	if len(b) < len(want) {
		return false
	}
	for i := range len(want) {
		c := b[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// skipTo goes on from i until a digit is met or a run of sep has been passed, whichever comes first.
func skipTo(b []byte, i int, sep byte) int {
	for i < len(b) && !digit(b[i]) {
		if b[i] == sep {
			return skipPast(b, i, sep)
		}
		i++
	}
	return i
}

// skipPast goes on from i until a run of sep has been passed; len(b) if there is none.
func skipPast(b []byte, i int, sep byte) int {
	for i < len(b) && b[i] != sep {
		i++
	}
	for i < len(b) && b[i] == sep {
		i++
	}
	return i
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// number reads a decimal number of at most most, and returns where it ends.
func number(b []byte, i, most int) (v, end int, ok bool) {
	start := i
	for i < len(b) && digit(b[i]) {
		if v = v*10 + int(b[i]-'0'); v > most {
			return 0, i, false
		}
		i++
	}
	return v, i, i > start
}

// sixNumbers reads h1,h2,h3,h4,p1,p2 at i; something must follow it in the segment, so that it is whole.
func sixNumbers(b []byte, i int) (endpoint, bool) {
	start := i
	var v [6]byte
	for n := range v {
		if n > 0 {
			if i >= len(b) || b[i] != ',' {
				return endpoint{}, false
			}
			i++
		}
		x, end, ok := number(b, i, 255)
		if !ok {
			return endpoint{}, false
		}
		v[n], i = byte(x), end
	}
	return endpoint{packet.AddrFrom4(v[:4]), uint16(v[4])<<8 | uint16(v[5]), start, i}, i < len(b)
}

// extended reads <d>net<d>addr<d>port<d> (RFC 2428) at i. short allows <d><d><d>port<d>, which stands for the address home.
func extended(b []byte, i int, v6 bool, home packet.Addr, short bool) (endpoint, bool) {
	if i >= len(b) || b[i] < 33 || b[i] > 126 {
		return endpoint{}, false
	}
	start, d := i, b[i]
	i++
	addr := home
	switch {
	case i+1 >= len(b) || b[i+1] != d:
		return endpoint{}, false
	case b[i] == d:
		if !short {
			return endpoint{}, false
		}
		i += 2
	case b[i] == netDigit(v6):
		i += 2
		from := i
		for i < len(b) && b[i] != d {
			i++
		}
		var ok bool
		if addr, ok = parseAddr(b[from:i], v6); !ok {
			return endpoint{}, false
		}
		i++
	default:
		return endpoint{}, false
	}
	port, i, ok := number(b, i, 65535)
	if !ok || port == 0 || i >= len(b) || b[i] != d {
		return endpoint{}, false
	}
	return endpoint{addr, uint16(port), start, i + 1}, true
}

// parseAddr reads an address of one family as text.
func parseAddr(b []byte, v6 bool) (packet.Addr, bool) {
	if len(b) > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") {
		return packet.Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	if err != nil || a.Is6() != v6 || a.Is4In6() || a.Zone() != "" {
		return packet.Addr{}, false
	}
	return packet.AddrFrom(a), true
}

// passiveText is what the client is told: the virtual address in place of the server's. It is written to b.
func passiveText(b []byte, mode ftpMode, vip packet.Addr, port uint16) []byte {
	if mode == ftpEPSV {
		b = append(b, "|||"...)
		b = appendNumber(b, int(port))
		return append(b, '|')
	}
	v := vip.V4()
	for _, n := range [...]int{int(v >> 24), int(v >> 16 & 255), int(v >> 8 & 255), int(v & 255), int(port >> 8)} {
		b = append(appendNumber(b, n), ',')
	}
	return appendNumber(b, int(port&255))
}

func appendNumber(b []byte, n int) []byte {
	if n >= 10 {
		b = appendNumber(b, n/10)
	}
	return append(b, byte('0'+n%10))
}
