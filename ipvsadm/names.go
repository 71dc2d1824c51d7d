package ipvsadm

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// Names is where host names and names of ports come from. The zero value knows none.
type Names struct {
	// Host finds the IPv4 address of a host name.
	Host func(name string) (netip.Addr, bool)
	// Addr finds the name of an address.
	Addr func(a netip.Addr) (string, bool)
	// Services is the text of a services database, as /etc/services.
	Services func() string

	byName map[string]uint16 // "http/tcp"
	byPort map[string]string // "80/tcp"
	cache  map[netip.Addr]string
}

// lookupTimeout is how long one question to the name servers may take.
const lookupTimeout = 2 * time.Second

// SystemNames asks the machine's resolver and reads /etc/services. Once the name servers have not answered in time,
// they are not asked again: a listing of many addresses would take minutes.
func SystemNames() *Names {
	silent := false
	ask := func(f func(context.Context) error) bool {
		if silent {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
		defer cancel()
		err := f(ctx)
		silent = ctx.Err() != nil
		return err == nil
	}
	return &Names{
		Host: func(name string) (a netip.Addr, ok bool) {
			if strings.Trim(name, "0123456789.") == "" {
				return a, false // a mistyped address, no name
			}
			ok = ask(func(ctx context.Context) error {
				list, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
				if err == nil {
					a = list[0].Unmap()
				}
				return err
			})
			return a, ok
		},
		Addr: func(a netip.Addr) (name string, ok bool) {
			ok = ask(func(ctx context.Context) error {
				list, err := net.DefaultResolver.LookupAddr(ctx, a.String())
				if err == nil {
					name = strings.TrimSuffix(list[0], ".")
				}
				return err
			})
			return name, ok
		},
		Services: func() string {
			text, _ := os.ReadFile("/etc/services") // none: ports stay numbers, as in ipvsadm
			return string(text)
		},
	}
}

// load reads the services database, once. The first line of a port names it; every name and alias counts.
func (n *Names) load() {
	if n.byName != nil {
		return
	}
	n.byName, n.byPort = map[string]uint16{}, map[string]string{}
	if n.Services == nil {
		return
	}
	for line := range strings.Lines(n.Services()) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		digits, protocol, _ := strings.Cut(f[1], "/")
		port, err := strconv.ParseUint(digits, 10, 16)
		if err != nil {
			continue
		}
		if _, ok := n.byPort[f[1]]; !ok {
			n.byPort[f[1]] = f[0]
		}
		for _, name := range append(f[2:], f[0]) {
			if _, ok := n.byName[name+"/"+protocol]; !ok {
				n.byName[name+"/"+protocol] = uint16(port)
			}
		}
	}
}

// port finds the number of a service name.
func (n *Names) port(name string, protocol uint8) (uint16, bool) {
	n.load()
	p, ok := n.byName[name+"/"+protocolWord(protocol)]
	return p, ok
}

// portName is the name of a port, else its number.
func (n *Names) portName(port uint16, protocol uint8) string {
	n.load()
	digits := strconv.Itoa(int(port))
	if name, ok := n.byPort[digits+"/"+protocolWord(protocol)]; ok {
		return name
	}
	return digits
}

// hostName is the name of an address, else the address.
func (n *Names) hostName(a netip.Addr) string {
	if name, ok := n.cache[a]; ok {
		return name
	}
	if n.cache == nil {
		n.cache = map[netip.Addr]string{}
	}
	name := ""
	if n.Addr != nil {
		name, _ = n.Addr(a)
	}
	if name == "" {
		name = addrText(a)
	}
	n.cache[a] = name
	return name
}

// nameLength is the room, in bytes, that ipvsadm has for an address with its port.
const nameLength = 59

// addrPort prints an address and a port of a protocol; with names unless numeric.
func (n *Names) addrPort(a netip.Addr, port uint16, protocol uint8, numeric bool) string {
	host, service := addrText(a), strconv.Itoa(int(port))
	if !numeric {
		host, service = n.hostName(a), n.portName(port, protocol)
	}
	if a.Is6() {
		host = "[" + host + "]"
	}
	return cut(host+":"+service, nameLength)
}

// addrText is inet_ntop of the GNU C library: as package netip has it, but for the addresses ::a.b.c.d.
func addrText(a netip.Addr) string {
	if a.Is6() && !a.Is4In6() {
		b := a.As16()
		if [12]byte(b[:12]) == [12]byte{} && (b[12] != 0 || b[13] != 0) {
			return "::" + netip.AddrFrom4([4]byte(b[12:])).String()
		}
	}
	return a.WithZone("").String()
}

// protocolWord is a protocol's name in a services database.
func protocolWord(p uint8) string {
	switch p {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 132:
		return "sctp"
	}
	return ""
}
