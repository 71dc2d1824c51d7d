package scenario

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/neigh"
)

// site is the network that a script's first lines describe.
type site struct {
	neigh.StaticConfig
	given    bool // by the script
	capacity uint32
	workers  int
}

func prefixes(s string) (out []netip.Prefix) {
	for _, x := range strings.Fields(s) {
		out = append(out, netip.MustParsePrefix(x))
	}
	return out
}

// standard is the site of a script that describes none.
func standard() neigh.StaticConfig {
	cfg := neigh.StaticConfig{
		Interfaces: []neigh.StaticInterface{{
			Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1},
			Addresses: prefixes("192.0.2.1/24 10.0.0.1/24 2001:db8::1/64 fd00::1/64"),
		}},
		Neighbors: map[netip.Addr][6]byte{
			netip.MustParseAddr("192.0.2.254"):  {2, 0, 0, 0, 0, 0xfe},
			netip.MustParseAddr("2001:db8::fe"): {2, 0, 0, 0, 0, 0xfe},
		},
		Routes: []neigh.StaticRoute{
			{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.254")},
			{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("2001:db8::fe")},
		},
	}
	for i := range byte(4) {
		mac := [6]byte{2, 0, 0, 0, 1, 0x11 + i}
		cfg.Neighbors[netip.AddrFrom4([4]byte{10, 0, 0, 11 + i})] = mac
		cfg.Neighbors[netip.MustParseAddr(fmt.Sprintf("fd00::%d", 11+i))] = mac
	}
	return cfg
}

// describe reads a line about the site; false: it is about something else.
func (s *site) describe(w []string) (bool, error) {
	switch w[0] {
	case "interface":
		return true, s.iface(w[1:])
	case "neighbor":
		if len(w) != 3 {
			return true, errors.New("want neighbor ADDRESS MAC")
		}
		a, err := netip.ParseAddr(w[1])
		if err != nil {
			return true, err
		}
		mac, err := parseMAC(w[2])
		s.give()
		s.Neighbors[a] = mac
		return true, err
	case "route":
		return true, s.route(w[1:])
	case "capacity", "workers":
		if len(w) != 2 {
			return true, fmt.Errorf("want %s N", w[0])
		}
		n, err := strconv.ParseUint(w[1], 10, 31)
		if w[0] == "capacity" {
			s.capacity = uint32(n)
		} else {
			s.workers = int(n)
		}
		return true, err
	}
	return false, nil
}

// give empties the site: the script describes its own.
func (s *site) give() {
	if !s.given {
		s.given = true
		s.StaticConfig = neigh.StaticConfig{Neighbors: map[netip.Addr][6]byte{}}
	}
}

func (s *site) iface(w []string) error {
	s.give()
	f := neigh.StaticInterface{}
	for i := 0; i < len(w); i++ {
		x := w[i]
		next := func() string {
			if i++; i < len(w) {
				return w[i]
			}
			return ""
		}
		var err error
		var n uint64
		switch {
		case i == 0:
			f.Name = x
		case x == "mtu":
			n, err = strconv.ParseUint(next(), 10, 31)
			f.MTU = uint32(n)
		case x == "limit":
			n, err = strconv.ParseUint(next(), 10, 31)
			f.Limit = uint32(n)
		case x == "parent":
			f.Parent = next()
		case x == "vlan":
			n, err = strconv.ParseUint(next(), 10, 12)
			f.VLAN = uint16(n)
		case strings.Contains(x, "/"):
			var p netip.Prefix
			p, err = netip.ParsePrefix(x)
			f.Addresses = append(f.Addresses, p)
		default:
			f.MAC, err = parseMAC(x)
		}
		if err != nil {
			return err
		}
	}
	s.Interfaces = append(s.Interfaces, f)
	return nil
}

func (s *site) route(w []string) error {
	if len(w) == 0 {
		return errors.New("want route PREFIX …")
	}
	p, err := netip.ParsePrefix(w[0])
	if err != nil {
		return err
	}
	s.give()
	r := neigh.StaticRoute{To: p}
	for i := 1; i < len(w); i++ {
		if w[i] == "local" {
			r.Kind = neigh.LocalAddr
			continue
		}
		if i++; i == len(w) {
			return fmt.Errorf("%s: of what", w[i-1])
		}
		switch w[i-1] {
		case "via":
			r.Via, err = netip.ParseAddr(w[i])
		case "dev":
			r.Interface = w[i]
		case "mtu":
			var n uint64
			n, err = strconv.ParseUint(w[i], 10, 31)
			r.MTU = uint32(n)
		default:
			err = fmt.Errorf("%q is not known", w[i-1])
		}
		if err != nil {
			return err
		}
	}
	s.Routes = append(s.Routes, r)
	return nil
}

func parseMAC(s string) ([6]byte, error) {
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 {
		return [6]byte{}, fmt.Errorf("%q is not a MAC address", s)
	}
	return [6]byte(m), nil
}
