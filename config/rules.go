package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/ipvsadm"
	"github.com/fastlb/fastlb/service"
)

// ruleLines understands rules as ipvsadm -S writes them: -A and -a only, the rest is a command, not a rule. first is the
// place of the first line.
func (d *decoder) ruleLines(key string, first Place, text string) (services []Service) {
	names := ipvsadm.SystemNames()
	number := first.Line
	for line := range strings.Lines(text) {
		at := Place{File: first.File, Line: number}
		number++
		words := ipvsadm.RuleWords(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if first.File == d.file && at.Line <= len(d.source) {
			line = d.source[at.Line-1] // with the indentation that YAML took away
		}
		at.Column = max(0, strings.Index(line, words[0])) + 1
		lineKey := key + "[" + strconv.Itoa(at.Line) + "]"
		d.places[lineKey] = at
		fault := func(what string) {
			d.faults = append(d.faults, Fault{at, key, what + ": " + strings.Join(words, " ")})
		}
		c, err := ipvsadm.Parse(words, names)
		if err != nil {
			fault(err.Error())
			continue
		}
		op, _ := c.Op()
		switch op.Kind {
		case control.AddService:
			services = append(services, Service{Spec: op.Service, key: lineKey})
		case control.AddServer:
			i := slices.IndexFunc(services, func(s Service) bool { return s.ID == op.Service.ID })
			if i < 0 {
				fault("the service is not defined by a line above")
				continue
			}
			s := &services[i]
			s.Servers = append(s.Servers, op.Server)
			s.serverKeys = append(s.serverKeys, lineKey)
			d.forced(words, at, key, s, &op.Server)
		default:
			fault("a rule begins with -A or -a")
		}
	}
	return services
}

// forced warns where ipvsadm's rule about ports overrode what a rule says.
func (d *decoder) forced(words []string, at Place, key string, s *Service, srv *service.ServerSpec) {
	i := slices.Index(words, "-r")
	if i < 0 || i+1 >= len(words) || s.Mark != 0 || srv.Method == service.NAT {
		return
	}
	said := words[i+1]
	if p := strconv.Itoa(int(s.Port)); strings.Contains(said, ":") && !strings.HasSuffix(said, ":"+p) &&
		said != srv.Addr.String() && isPort(said) {
		d.warnings = append(d.warnings, Fault{at, key, srv.Method.String() + " cannot translate ports: server " + said +
			" is used with the service's port " + p})
	}
}

// isPort tells whether an address ends in a port number.
func isPort(s string) bool {
	_, err := strconv.ParseUint(s[strings.LastIndexByte(s, ':')+1:], 10, 16)
	return err == nil && (strings.Count(s, ":") == 1 || strings.HasPrefix(s, "["))
}
