package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/internal/scenario/frame"
	"github.com/fastlb/fastlb/service"
)

var protocols = map[string]uint8{"tcp": service.TCP, "udp": service.UDP, "sctp": service.SCTP}

var methods = map[string]service.Method{"nat": service.NAT, "dr": service.DR, "tunnel": service.Tunnel, "local": service.Local, "bypass": service.Bypass}

// addService reads and adds a service.
func (p *play) addService(w []string) error {
	s := service.Spec{}
	s.Family = 4
	method := service.DR
	if len(w) >= 2 && !strings.HasPrefix(w[0], "mark=") {
		proto, ok := protocols[w[0]]
		if !ok {
			return fmt.Errorf("no protocol %q", w[0])
		}
		ap, err := frame.Address(w[1])
		if err != nil {
			return err
		}
		s.Protocol, s.Addr, s.Port = proto, ap.Addr(), ap.Port()
		if s.Addr.Is6() {
			s.Family = 6
		}
		w = w[2:]
	}
	for _, x := range w {
		k, v, _ := strings.Cut(x, "=")
		n, _ := strconv.ParseUint(v, 0, 32)
		switch k {
		case "mark":
			s.Mark = uint32(n)
		case "family":
			s.Family = uint8(n)
		case "persistent":
			s.Persistent, s.Timeout = true, uint32(n)
			if s.Netmask == 0 {
				s.Netmask = 0xffffffff
				if s.Family == 6 {
					s.Netmask = 128
				}
			}
		case "mask":
			s.Netmask = uint32(n)
			if s.Family == 4 {
				s.Netmask = ^uint32(0) << (32 - n)
			}
		case "ops":
			s.OnePacket = true
		case "engine":
			s.Engine = v
		case "flags":
			for _, f := range strings.Split(v, ",") {
				switch f {
				case "sh-fallback", "mh-fallback":
					s.Flags |= service.SchedFlag1
				case "sh-port", "mh-port":
					s.Flags |= service.SchedFlag2
				default:
					return fmt.Errorf("no scheduler flag %q", f)
				}
			}
		default:
			if m, ok := methods[x]; ok {
				method = m
				continue
			}
			if v != "" || s.Scheduler != "" {
				return fmt.Errorf("%q is not known", x)
			}
			s.Scheduler = x
		}
	}
	if s.Family == 6 && s.Netmask == 0 {
		s.Netmask = 128
	}
	p.service, p.method = s, method
	return p.apply(control.Op{Kind: control.AddService, Service: s})
}

// server reads a server of the service named last, and adds, changes or removes it.
func (p *play) server(kind control.Kind, w []string) error {
	if len(w) == 0 {
		return errors.New("want ADDR[:PORT]")
	}
	ap, err := frame.Address(w[0])
	if err != nil {
		return err
	}
	s := service.ServerSpec{Method: p.method, Weight: 1}
	s.Addr, s.Port = ap.Addr(), ap.Port()
	for _, x := range w[1:] {
		k, v, _ := strings.Cut(x, "=")
		n, err := strconv.ParseUint(v, 0, 31)
		if v != "" && err != nil {
			return err
		}
		switch k {
		case "weight":
			s.Weight = int32(n)
		case "upper":
			s.Upper = uint32(n)
		case "lower":
			s.Lower = uint32(n)
		case "gue":
			s.Method, s.Tunnel, s.TunPort = service.Tunnel, service.GUE, uint16(n)
		case "gre":
			s.Method, s.Tunnel = service.Tunnel, service.GRE
		case "csum":
			s.TunSum = service.Checksum
		default:
			m, ok := methods[x]
			if !ok {
				return fmt.Errorf("%q is not known", x)
			}
			s.Method = m
		}
	}
	return p.apply(control.Op{Kind: kind, Service: p.service, Server: s})
}

// mark adds to the marks.
func (p *play) mark(w []string) error {
	if len(w) == 0 {
		return errors.New("want mark N …")
	}
	n, err := strconv.ParseUint(w[0], 0, 32)
	if err != nil {
		return err
	}
	m := service.Mark{Mark: uint32(n)}
	for _, x := range w[1:] {
		if proto, ok := protocols[x]; ok {
			m.Protocol = proto
			continue
		}
		if strings.Contains(x, "/") {
			if m.Destination, err = netip.ParsePrefix(x); err != nil {
				return err
			}
			continue
		}
		for _, y := range strings.Split(x, ",") {
			port, err := strconv.ParseUint(y, 10, 16)
			if err != nil {
				return err
			}
			m.Ports = append(m.Ports, uint16(port))
		}
	}
	p.marks = append(p.marks, m)
	return p.apply(control.Op{Kind: control.SetMarks, Marks: p.marks})
}
