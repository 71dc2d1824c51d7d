package ipvsadm

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// view is what a listing of services shows beside each line.
type view uint8

const (
	plain view = iota
	stats
	rates
	thresholds
	persistentConns
	tunInfo
	rules // -S
)

// format is how a listing is written.
type format struct {
	view       view
	numeric    bool
	exact      bool
	unsorted   bool
	engineData bool // -c with --persistent-conn
}

// formatOf reads the listing options; of several views the first in this order counts.
func formatOf(given options64) format {
	f := format{
		numeric: given.has(optNumeric), exact: given.has(optExact), unsorted: given.has(optNoSort),
		engineData: given.has(optPersistentConn),
	}
	switch {
	case given.has(optStats):
		f.view = stats
	case given.has(optRate):
		f.view = rates
	case given.has(optThresholds):
		f.view = thresholds
	case given.has(optPersistentConn):
		f.view = persistentConns
	case given.has(optTunInfo):
		f.view = tunInfo
	}
	return f
}

const (
	firstTitle  = "Prot LocalAddress:Port"
	secondTitle = "  -> RemoteAddress:Port"

	serviceWidth = 33 // bytes of an IPv4 service's name in listings
	serverWidth  = 28 // bytes of an IPv4 server's
)

var (
	methodNames = [...]string{"Masq", "Local", "Tunnel", "Route", "Bypass"}
	methodRules = [...]string{"-m", "-g", "-i", "-g", "-g"}
	tunnelNames = [...]string{service.IPIP: "ipip", service.GUE: "gue", service.GRE: "gre"}
	sumNames    = [...]string{"-c", "+c", "r+c"}
	sumRules    = [...]string{"--tun-nocsum", "--tun-csum", "--tun-remcsum"}
)

// at is a[i], "?" outside: an engine may know more than this command.
func at[I ~uint8](a []string, i I) string {
	if int(i) < len(a) {
		return a[i]
	}
	return "?"
}

// title writes the two lines over a listing of services.
func (f format) title(w io.Writer) {
	switch f.view {
	case stats:
		fmt.Fprintf(w, "%-33s %8s %8s %8s %8s %8s\n%s\n", firstTitle, "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes", secondTitle)
	case rates:
		fmt.Fprintf(w, "%-33s %8s %8s %8s %8s %8s\n%s\n", firstTitle, "CPS", "InPPS", "OutPPS", "InBPS", "OutBPS", secondTitle)
	case thresholds:
		fmt.Fprintf(w, "%-33s %-10s %-10s %-10s %-10s\n%s\n", firstTitle, "Uthreshold", "Lthreshold", "ActiveConn", "InActConn", secondTitle)
	case persistentConns:
		fmt.Fprintf(w, "%-33s %-9s %-11s %-10s %-10s\n%s\n", firstTitle, "Weight", "PersistConn", "ActiveConn", "InActConn", secondTitle)
	case tunInfo:
		fmt.Fprintf(w, "%s Scheduler Flags\n%s           Forward TunnelInfo    Weight ActiveConn InActConn\n", firstTitle, secondTitle)
	case plain:
		fmt.Fprintf(w, "%s Scheduler Flags\n%s           Forward Weight ActiveConn InActConn\n", firstTitle, secondTitle)
	}
}

// services writes a listing's body, or the rules of -S; it sorts the entries.
func (f format) services(w io.Writer, n *Names, entries []control.ServiceEntry) {
	if !f.unsorted {
		mergeSort(entries, compareServices)
	}
	for i := range entries {
		f.service(w, n, &entries[i])
	}
}

func (f format) service(w io.Writer, n *Names, e *control.ServiceEntry) {
	name := f.serviceName(n, &e.Spec.ID)
	switch f.view {
	case stats, rates:
		s := &e.Stats
		if f.view == rates {
			s = &e.Rates
		}
		fmt.Fprintf(w, "%-33s", name)
		f.numbers(w, s.Conns, s.InPkts, s.OutPkts, s.InBytes, s.OutBytes)
		fmt.Fprintln(w)
	case rules:
		fmt.Fprintf(w, "-A %s%s\n", name, ruleOptions(&e.Spec))
	default:
		fmt.Fprintf(w, "%s%s\n", name, listOptions(&e.Spec))
	}
	if !f.unsorted {
		mergeSort(e.Servers, compareServers)
	}
	for i := range e.Servers {
		f.server(w, n, &e.Spec.ID, name, &e.Servers[i])
	}
}

// serviceName names a service, with its protocol, or with its option in rules.
func (f format) serviceName(n *Names, id *service.ID) string {
	six := id.Family == 6
	switch {
	case id.Mark != 0 && f.view == rules:
		return fmt.Sprintf("-f %d%s", int32(id.Mark), map[bool]string{true: " -6"}[six])
	case id.Mark != 0:
		return fmt.Sprintf("FWM  %d%s", int32(id.Mark), map[bool]string{true: " IPv6"}[six])
	}
	addr := n.addrPort(id.Addr, id.Port, id.Protocol, f.numeric)
	if f.view == rules {
		return serviceOption(id.Protocol) + " " + addr
	}
	name := fmt.Sprintf("%-4s %s", protocolName(id.Protocol), addr)
	if !six {
		name = cut(name, serviceWidth)
	}
	return name
}

// listOptions is what follows a service's name in a listing.
func listOptions(s *service.Spec) string {
	var b strings.Builder
	b.WriteString(" " + schedulerOf(s))
	if s.Flags != 0 {
		b.WriteString(" (" + flagNames(s) + ")")
	}
	if s.Persistent {
		fmt.Fprintf(&b, " persistent %d", s.Timeout)
		if m := maskText(s); m != "" {
			b.WriteString(" mask " + m)
		}
		if s.Engine != "" {
			b.WriteString(" pe " + s.Engine)
		}
	}
	if s.OnePacket {
		b.WriteString(" ops")
	}
	return b.String()
}

// ruleOptions is what follows it in a rule.
func ruleOptions(s *service.Spec) string {
	var b strings.Builder
	b.WriteString(" -s " + schedulerOf(s))
	if s.Persistent {
		fmt.Fprintf(&b, " -p %d", s.Timeout)
		if m := maskText(s); m != "" {
			b.WriteString(" -M " + m)
		}
	}
	if s.Engine != "" {
		b.WriteString(" --pe " + s.Engine)
	}
	if s.OnePacket {
		b.WriteString(" -o")
	}
	if s.Flags != 0 {
		b.WriteString(" -b " + flagNames(s))
	}
	return b.String()
}

func schedulerOf(s *service.Spec) string {
	if s.Scheduler == "" {
		return "none"
	}
	return s.Scheduler
}

// maskText is the persistence granularity, "" where it is the whole address.
func maskText(s *service.Spec) string {
	if s.Family == 6 {
		if s.Netmask == 128 {
			return ""
		}
		return fmt.Sprint(s.Netmask)
	}
	if s.Netmask == 1<<32-1 {
		return ""
	}
	m := s.Netmask
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}

// flagNames lists the scheduler flags under the scheduler's own names; sh and mh have none for the third.
func flagNames(s *service.Spec) string {
	names := []string{"flag-1", "flag-2", "flag-3"}
	if s.Scheduler == "sh" || s.Scheduler == "mh" {
		names = []string{s.Scheduler + "-fallback", s.Scheduler + "-port"}
	}
	var given []string
	for i, name := range names {
		if s.Flags&(1<<i) != 0 {
			given = append(given, name)
		}
	}
	return strings.Join(given, ",")
}

// server writes the line of a real server of the service called name.
func (f format) server(w io.Writer, n *Names, id *service.ID, name string, e *control.ServerEntry) {
	s := &e.Spec
	protocol := id.Protocol
	if id.Mark != 0 {
		protocol = 0
	}
	addr := n.addrPort(s.Addr, s.Port, protocol, f.numeric)
	if f.view == rules {
		fmt.Fprintf(w, "-a %s -r %s %s -w %d%s\n", name, addr, at(methodRules[:], s.Method), s.Weight, tunnelRule(s))
		return
	}
	if s.Addr.Is4() {
		addr = cut(addr, serverWidth)
	}
	fmt.Fprintf(w, "  -> %-28s", addr)
	switch f.view {
	case stats:
		f.numbers(w, e.Stats.Conns, e.Stats.InPkts, e.Stats.OutPkts, e.Stats.InBytes, e.Stats.OutBytes)
		fmt.Fprintln(w)
	case rates:
		fmt.Fprintf(w, " %8d %8d %8d", e.Rates.Conns, e.Rates.InPkts, e.Rates.OutPkts)
		f.numbers(w, e.Rates.InBytes, e.Rates.OutBytes)
		fmt.Fprintln(w)
	case thresholds:
		fmt.Fprintf(w, " %-10d %-10d %-10d %-10d\n", s.Upper, s.Lower, e.Active, e.Inactive)
	case persistentConns:
		fmt.Fprintf(w, " %-9d %-11d %-10d %-10d\n", uint32(s.Weight), e.Persistent, e.Active, e.Inactive)
	case tunInfo:
		fmt.Fprintf(w, " %-7s %-13s %-6d %-10d %-10d\n", at(methodNames[:], s.Method), tunnelText(s), s.Weight, e.Active, e.Inactive)
	default:
		fmt.Fprintf(w, " %-7s %-6d %-10d %-10d\n", at(methodNames[:], s.Method), s.Weight, e.Active, e.Inactive)
	}
}

// tunnelText is a server's tunnel in a listing.
func tunnelText(s *service.ServerSpec) string {
	if s.Method != service.Tunnel {
		return "n/a"
	}
	text := at(tunnelNames[:], s.Tunnel)
	switch s.Tunnel {
	case service.GUE:
		text += fmt.Sprintf(":%d:%s", s.TunPort, at(sumNames[:], s.TunSum))
	case service.GRE:
		text += ":" + at(sumNames[:], s.TunSum)
	}
	return cut(text, 15)
}

// tunnelRule is a server's tunnel in a rule.
func tunnelRule(s *service.ServerSpec) string {
	if s.Method != service.Tunnel {
		return ""
	}
	text := " --tun-type " + at(tunnelNames[:], s.Tunnel)
	if s.Tunnel == service.GUE {
		text += fmt.Sprintf(" --tun-port %d", s.TunPort)
	}
	if s.Tunnel != service.IPIP {
		text += " " + at(sumRules[:], s.TunSum)
	}
	return text
}

// numbers writes counts nine bytes wide each; what needs more than eight digits is abbreviated, unless exact.
func (f format) numbers(w io.Writer, counts ...uint64) {
	for _, n := range counts {
		switch {
		case f.exact && n >= 1e8:
			fmt.Fprintf(w, " %d", n)
		case n < 1e8:
			fmt.Fprintf(w, "%9d", n)
		case n < 1e9:
			fmt.Fprintf(w, "%8dK", n/1e3)
		case n < 1e11:
			fmt.Fprintf(w, "%8dM", n/1e6)
		case n < 1e14:
			fmt.Fprintf(w, "%8dG", n/1e9)
		default:
			fmt.Fprintf(w, "%8dT", n/1e12)
		}
	}
}

// protocolName is a protocol in listings.
func protocolName(p uint8) string {
	switch p {
	case service.TCP:
		return "TCP"
	case service.UDP:
		return "UDP"
	case service.SCTP:
		return "SCTP"
	case 50:
		return "ESP"
	case 51:
		return "AH"
	}
	return "IP"
}

// serviceOption is the option that names a service of a protocol.
func serviceOption(p uint8) string {
	switch p {
	case service.UDP:
		return "-u"
	case service.SCTP:
		return "--sctp-service"
	}
	return "-t"
}

// Rules are the lines of -S -n for one service and its servers, in the order given.
func Rules(s service.Spec, servers []service.ServerSpec) []string {
	e := control.ServiceEntry{Spec: s}
	for _, v := range servers {
		e.Servers = append(e.Servers, control.ServerEntry{Spec: v})
	}
	var b strings.Builder
	format{view: rules, numeric: true, unsorted: true}.service(&b, &Names{}, &e)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}
