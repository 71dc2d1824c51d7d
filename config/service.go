package config

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/fastlb/fastlb/ipvsadm"
	"github.com/fastlb/fastlb/service"
)

const (
	defaultScheduler = "wlc"
	wholeAddress4    = math.MaxUint32 // persistence granularity: no mask
	wholeAddress6    = 128
)

// forwarding takes a forwarding method.
func (d *decoder) forwarding(to *service.Method) func(node) {
	return func(n node) {
		switch n.Value {
		case "nat":
			*to = service.NAT
		case "dr":
			*to = service.DR
		case "tunnel":
			*to = service.Tunnel
		case "fullnat":
			d.fault(n, "fullnat is not built yet: use nat, dr or tunnel")
		default:
			d.fault(n, "%s is not one of nat, dr, tunnel", kindOf(n.Node))
		}
	}
}

// endpoint takes host:port; without a port it is fallback, where that is not negative.
func (d *decoder) endpoint(n node, fallback int) (a netip.AddrPort, ok bool) {
	if n.Kind == yaml.ScalarNode {
		if a, err := netip.ParseAddrPort(n.Value); err == nil && a.Addr().Zone() == "" {
			return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), true
		}
		if a, err := netip.ParseAddr(strings.Trim(n.Value, "[]")); err == nil && a.Zone() == "" {
			if fallback >= 0 {
				return netip.AddrPortFrom(a.Unmap(), uint16(fallback)), true
			}
			d.fault(n, "%q has no port: write %s", n.Value, netip.AddrPortFrom(a, 80))
			return netip.AddrPort{}, false
		}
	}
	d.fault(n, "%s where ADDRESS:PORT belongs, such as 192.0.2.10:80 or \"[2001:db8::10]:80\"", kindOf(n.Node))
	return netip.AddrPort{}, false
}

// serviceNodes are the parts of a service that are understood after the others.
type serviceNodes struct {
	address, protocol, mark, family, mask, flags, servers node
}

// service decodes an element of services; false: it could not be told which service it is.
func (d *decoder) service(n node) (s Service, ok bool) {
	s.key = n.key
	s.Scheduler = defaultScheduler
	method := service.DR
	var late serviceNodes
	keep := func(to *node) func(node) { return func(n node) { *to = n } }
	var family uint32
	d.mapping(n,
		field{"address", keep(&late.address)},
		field{"protocol", keep(&late.protocol)},
		field{"mark", keep(&late.mark)},
		field{"family", keep(&late.family)},
		field{"scheduler", d.text(&s.Scheduler)},
		field{"scheduler_flags", keep(&late.flags)},
		field{"persistent", d.seconds(&s.Timeout)},
		field{"persistent_mask", keep(&late.mask)},
		field{"persistence_engine", d.text(&s.Engine)},
		field{"one_packet", d.boolean(&s.OnePacket)},
		field{"forward", d.forwarding(&method)},
		field{"servers", keep(&late.servers)},
	)
	s.Persistent = s.Timeout > 0
	switch {
	case late.mark.Node != nil:
		if late.address.Node != nil || late.protocol.Node != nil {
			d.fault(late.mark, "a service is by mark or by address and protocol, not both")
		}
		s.Family = 4
		ok = store(d, late.mark, &s.Mark, 1, math.MaxUint32)
		if late.family.Node != nil && store(d, late.family, &family, 4, 6) {
			if s.Family = uint8(family); family == 5 {
				d.fault(late.family, "the family is 4 or 6")
			}
		}
	case late.address.Node != nil:
		s.Protocol = service.TCP
		if late.protocol.Node != nil {
			d.protocol(&s.Protocol)(late.protocol)
		}
		if late.family.Node != nil {
			d.fault(late.family, "the address says the family: family goes with mark only")
		}
		var a netip.AddrPort
		if a, ok = d.endpoint(late.address, -1); ok {
			s.Addr, s.Port, s.Family = a.Addr(), a.Port(), familyOf(a.Addr())
		}
	default:
		d.fault(n, "a service needs address: (with protocol:) or mark:")
	}
	d.mask(&s, late.mask)
	d.flags(&s, late.flags)
	if late.servers.Node != nil {
		d.list(late.servers, func(n node) {
			if srv, ok := d.server(n, &s, method); ok {
				s.Servers = append(s.Servers, srv)
				s.serverKeys = append(s.serverKeys, n.key)
			}
		})
	}
	return s, ok
}

func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return 4
	}
	return 6
}

// mask takes persistent_mask, a prefix length, or an IPv4 mask.
func (d *decoder) mask(s *Service, n node) {
	if s.Netmask = wholeAddress4; s.Family == 6 {
		s.Netmask = wholeAddress6
	}
	if n.Node == nil {
		return
	}
	if a, err := netip.ParseAddr(n.Value); err == nil && a.Is4() && s.Family != 6 {
		b := a.As4()
		s.Netmask = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		return
	}
	low, high := int64(0), int64(32)
	if s.Family == 6 {
		low, high = 1, 128
	}
	var bits uint32
	if !store(d, n, &bits, low, high) {
		return
	}
	if s.Netmask = bits; s.Family != 6 {
		s.Netmask = uint32(uint64(math.MaxUint32) << (32 - bits))
	}
}

// flags takes scheduler_flags.
func (d *decoder) flags(s *Service, n node) {
	if n.Node == nil {
		return
	}
	d.list(n, func(n node) {
		name, ok := d.scalar(n, "a scheduler flag")
		if !ok {
			return
		}
		f, err := ipvsadm.ParseFlags(s.Scheduler, []string{name})
		if err != nil {
			d.fault(n, "%v: sh has sh-port and sh-fallback, mh has mh-port and mh-fallback", err)
		}
		s.Flags |= f
	})
}

// server decodes an element of servers; method is the service's.
func (d *decoder) server(n node, s *Service, method service.Method) (srv service.ServerSpec, ok bool) {
	srv.Method, srv.Weight = method, 1
	var address node
	d.mapping(n,
		field{"address", func(n node) { address = n }},
		field{"weight", func(n node) { store(d, n, &srv.Weight, 0, math.MaxInt32) }},
		field{"forward", d.forwarding(&srv.Method)},
		field{"upper_threshold", func(n node) { store(d, n, &srv.Upper, 0, math.MaxInt32) }},
		field{"lower_threshold", func(n node) { store(d, n, &srv.Lower, 0, math.MaxInt32) }},
		field{"tunnel", func(n node) {
			var kind, sum string
			d.mapping(n,
				field{"type", d.word(&kind, "ipip", "gre", "gue")},
				field{"port", func(n node) { store(d, n, &srv.TunPort, 0, math.MaxUint16) }},
				field{"checksum", d.word(&sum, "none", "csum", "remcsum")},
			)
			srv.Tunnel = map[string]service.TunnelType{"gre": service.GRE, "gue": service.GUE}[kind]
			srv.TunSum = map[string]service.TunnelChecksum{"csum": service.Checksum, "remcsum": service.RemoteChecksum}[sum]
		}},
	)
	if address.Node == nil {
		d.fault(n, "a server needs address:")
		return srv, false
	}
	a, ok := d.endpoint(address, int(s.Port))
	srv.Addr, srv.Port = a.Addr(), a.Port()
	if ok && s.Mark == 0 && srv.Method != service.NAT && srv.Port != s.Port {
		d.warnings = append(d.warnings, Fault{Place{d.file, address.Line, address.Column}, join(n.key, "address"),
			srv.Method.String() + " cannot translate ports: the server is used with the service's port " + strconv.Itoa(int(s.Port)) +
				", not " + strconv.Itoa(int(srv.Port)) + "; let it listen there, or forward by nat"})
		srv.Port = s.Port
	}
	return srv, ok
}
