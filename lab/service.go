package lab

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Service is a virtual service of the lab's director, as the lab writes it into the configuration or says it to ipvsadm.
type Service struct {
	Address   netip.AddrPort
	Protocol  string // tcp, udp
	Scheduler string
	Method    string // nat, dr, tunnel: of all its servers
	Servers   []RealServer
}

// RealServer is one of a service's servers.
type RealServer struct {
	Name    string // web1 …: the name that it answers with
	Address netip.AddrPort
	Weight  int
}

// weights of web1, web2, web3 …
var weights = []int{3, 2, 1}

// Service plans a weighted TCP service on the web port of the method's VIP of a family (4 or 6), with every server at its
// own address of that family. NAT sends it to another port, which only NAT can.
func (p *Plan) Service(method string, family int) Service {
	s := Service{
		Address:   netip.AddrPortFrom(p.VIP(method).Addr(family), WebPort),
		Protocol:  "tcp",
		Scheduler: "wrr",
		Method:    method,
	}
	port := WebPort
	if method == "nat" {
		port = AltPort
	}
	return s.with(p, family, port)
}

// On returns the service on another port, which its servers have too, with servers of the given family: a tunnel's may
// differ from the service's.
func (s Service) On(p *Plan, protocol string, port uint16, serverFamily int) Service {
	s.Protocol = protocol
	s.Address = netip.AddrPortFrom(s.Address.Addr(), port)
	return s.with(p, serverFamily, port)
}

func (s Service) with(p *Plan, family int, port uint16) Service {
	s.Servers = nil
	for i, n := range p.Servers {
		at := n.Interfaces[1] // inside
		if s.Method == "dr" {
			at = n.Interfaces[0]
		}
		addr := at.V4()
		if family == 6 {
			addr = at.V6()
		}
		s.Servers = append(s.Servers, RealServer{Name: n.Name, Address: netip.AddrPortFrom(addr, port), Weight: weights[i%len(weights)]})
	}
	return s
}

// Services returns one service for each method and family, in the order of the account.
func (p *Plan) Services() []Service {
	var all []Service
	for _, v := range p.VIPs {
		for _, family := range []int{4, 6} {
			all = append(all, p.Service(v.Method, family))
		}
	}
	return all
}

// Promise returns how many of n requests each server gets by its weight, where n is a multiple of the weights' sum.
func (s Service) Promise(n int) map[string]int {
	sum := 0
	for _, r := range s.Servers {
		sum += r.Weight
	}
	promise := make(map[string]int)
	for _, r := range s.Servers {
		if sum > 0 {
			promise[r.Name] += n * r.Weight / sum
		}
	}
	return promise
}

// Commands returns the ipvsadm arguments that set the service up.
func (s Service) Commands() [][]string {
	flag := map[string]string{"tcp": "-t", "udp": "-u"}[s.Protocol]
	how := map[string]string{"nat": "-m", "dr": "-g", "tunnel": "-i"}[s.Method]
	commands := [][]string{{"-A", flag, s.Address.String(), "-s", s.Scheduler}}
	for _, r := range s.Servers {
		commands = append(commands, []string{"-a", flag, s.Address.String(), "-r", r.Address.String(), how, "-w", strconv.Itoa(r.Weight)})
	}
	return commands
}

// DirectorConfig is what the lab's director is configured with.
type DirectorConfig struct {
	Interfaces []string
	Attach     string // auto, zerocopy, copy, generic; "" is auto
	Poll       string // busy, adaptive, interrupt; "" is the default
	Dir        string // of its socket and its connection table
	Services   []Service
}

// SocketIn returns the path of the director's socket in a directory.
func SocketIn(dir string) string { return dir + "/fastlb.sock" }

// YAML writes the configuration file (contract: the configuration file).
func (c DirectorConfig) YAML() string {
	var b strings.Builder
	attach := c.Attach
	if attach == "" {
		attach = "auto"
	}
	b.WriteString("interfaces:\n")
	for _, i := range c.Interfaces {
		fmt.Fprintf(&b, "  - {name: %s, attach: %s}\n", i, attach)
	}
	fmt.Fprintf(&b, "flows: {capacity: 65536, state: %q}\napi: {socket: %q}\n", c.Dir+"/flows", SocketIn(c.Dir))
	if c.Poll != "" {
		fmt.Fprintf(&b, "workers: {poll: %s}\n", c.Poll)
	}
	if len(c.Services) > 0 {
		b.WriteString("services:\n")
	}
	for _, s := range c.Services {
		fmt.Fprintf(&b, "  - address: %q\n    protocol: %s\n    scheduler: %s\n    forward: %s\n    servers:\n",
			s.Address, s.Protocol, s.Scheduler, s.Method)
		for _, r := range s.Servers {
			fmt.Fprintf(&b, "      - {address: %q, weight: %d}\n", r.Address, r.Weight)
		}
	}
	return b.String()
}
