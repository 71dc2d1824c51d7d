package config

import (
	"fmt"
	"io"
	"net"
	"strings"
	"text/tabwriter"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/ipvsadm"
	"github.com/fastlb/fastlb/service"
)

// Summary is a configuration as `fastlb check --output json` prints it.
type Summary struct {
	Valid      bool               `json:"valid"`
	Warnings   Faults             `json:"warnings"`
	Interfaces []InterfaceSummary `json:"interfaces"`
	Workers    map[string]any     `json:"workers"`
	Flows      map[string]any     `json:"flows"`
	Timeouts   map[string]uint32  `json:"timeouts"` // seconds
	Tunables   map[string]string  `json:"tunables"`
	Services   []ServiceSummary   `json:"services"`
	Marks      []string           `json:"marks"`
	Metrics    string             `json:"metrics"`
	Socket     string             `json:"socket"`
}

// InterfaceSummary is an interface in a Summary.
type InterfaceSummary struct {
	Name   string `json:"name"`
	Attach string `json:"attach"`
	Queues string `json:"queues"`
	Parent string `json:"parent,omitempty"`
	VLAN   uint16 `json:"vlan,omitempty"`
}

// ServiceSummary is a service in a Summary: Rules are what ipvsadm -S -n prints of it.
type ServiceSummary struct {
	Service   string   `json:"service"`
	Scheduler string   `json:"scheduler"`
	Servers   []string `json:"servers"`
	Rules     []string `json:"rules"`
}

// Summary says what the configuration means.
func (c *Config) Summary() Summary {
	s := Summary{
		Valid: true, Warnings: append(Faults{}, c.Warnings...),
		Interfaces: []InterfaceSummary{}, Services: []ServiceSummary{}, Marks: []string{},
		Workers: map[string]any{
			"cpus": list(c.Workers.CPUs, "auto"), "batch": c.Workers.Batch, "poll": c.Workers.Poll, "busy_poll": c.Workers.BusyPoll,
			"frames": c.Workers.Frames, "hugepages": c.Workers.Hugepages,
			"numa": c.Workers.NUMA, "tune": c.Workers.Tune,
		},
		Flows:    map[string]any{"capacity": c.Flows.Capacity, "state": c.Flows.State},
		Timeouts: map[string]uint32{"tcp": c.Timeouts.TCP, "tcpfin": c.Timeouts.TCPFin, "udp": c.Timeouts.UDP},
		Tunables: map[string]string{},
		Metrics:  c.Metrics.Listen, Socket: c.API.Socket,
	}
	for _, i := range c.Interfaces {
		s.Interfaces = append(s.Interfaces, InterfaceSummary{i.Name, i.Attach, list(i.Queues, "all"), i.Parent, i.VLAN})
	}
	for _, t := range c.Tunables {
		s.Tunables[t.Name] = t.Value
	}
	for i := range c.Services {
		v := &c.Services[i]
		sum := ServiceSummary{Service: v.ID.String(), Scheduler: v.Scheduler, Servers: []string{}, Rules: ipvsadm.Rules(v.Spec, v.Servers)}
		for _, srv := range v.Servers {
			sum.Servers = append(sum.Servers, fmt.Sprintf("%s by %s, weight %d", srv.ServerID, srv.Method, srv.Weight))
		}
		s.Services = append(s.Services, sum)
	}
	for _, m := range c.Marks {
		s.Marks = append(s.Marks, describeMark(m))
	}
	return s
}

// Describe writes what the configuration means, for people.
func (c *Config) Describe(w io.Writer) {
	s := c.Summary()
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, i := range s.Interfaces {
		what := fmt.Sprintf("%s\tattach %s, queues %s", i.Name, i.Attach, i.Queues)
		if i.VLAN != 0 {
			what = fmt.Sprintf("%s\tVLAN %d of %s", i.Name, i.VLAN, i.Parent)
		}
		fmt.Fprintf(t, "interface\t%s\n", what)
	}
	if len(s.Interfaces) == 0 {
		fmt.Fprintf(t, "interface\tnone\tname them with fastlb run --interface\n")
	}
	fmt.Fprintf(t, "workers\tcpus %s\tbatch %d, poll %s, busy polling %s, %d frames, hugepages %s, numa %s, tune %s\n",
		s.Workers["cpus"], c.Workers.Batch, c.Workers.Poll, c.Workers.BusyPoll, c.Workers.Frames, c.Workers.Hugepages, c.Workers.NUMA, c.Workers.Tune)
	state := "in memory"
	if c.Flows.State != "" {
		state = c.Flows.State
	}
	fmt.Fprintf(t, "flows\t%d\t%s\n", c.Flows.Capacity, state)
	fmt.Fprintf(t, "timeouts\ttcp %ds\ttcpfin %ds, udp %ds\n", c.Timeouts.TCP, c.Timeouts.TCPFin, c.Timeouts.UDP)
	for _, v := range c.Tunables {
		fmt.Fprintf(t, "tunable\t%s\t%s\n", v.Name, v.Value)
	}
	for i := range c.Services {
		v := &c.Services[i]
		fmt.Fprintf(t, "service\t%s\t%s\n", v.ID, serviceOptions(&v.Spec))
		for _, srv := range v.Servers {
			fmt.Fprintf(t, "\t→ %s\t%s\n", srv.ServerID, serverOptions(&srv))
		}
	}
	for _, m := range s.Marks {
		fmt.Fprintf(t, "mark\t%s\n", m)
	}
	fmt.Fprintf(t, "metrics\t%s\napi\t%s\n", or(c.Metrics.Listen, "off"), c.API.Socket)
	t.Flush()
	for _, f := range c.Warnings {
		fmt.Fprintf(w, "warning: %s\n", f.Error())
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// list prints numbers, or a word for none.
func list(numbers []int, none string) string {
	if len(numbers) == 0 {
		return none
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(numbers), " ", ","), "[]")
}

func serviceOptions(s *service.Spec) string {
	rule := ipvsadm.Rules(*s, nil)[0]
	_, options, _ := strings.Cut(rule, " -s ")
	return options
}

func serverOptions(v *service.ServerSpec) string {
	s := fmt.Sprintf("%s, weight %d", v.Method, v.Weight)
	if v.Method == service.Tunnel {
		s = [...]string{"ipip", "gue", "gre"}[v.Tunnel] + " " + s
		if v.TunPort != 0 {
			s += fmt.Sprintf(", port %d", v.TunPort)
		}
	}
	if v.Upper != 0 {
		s += fmt.Sprintf(", at most %d connections", v.Upper)
	}
	return s
}

func describeMark(m service.Mark) string {
	s := fmt.Sprintf("%d", m.Mark)
	if m.Destination.IsValid() {
		s += " to " + m.Destination.String()
	}
	if m.Protocol != 0 {
		s += " " + service.ProtocolName(m.Protocol)
	}
	if len(m.Ports) > 0 {
		s += " ports " + strings.Trim(strings.ReplaceAll(fmt.Sprint(m.Ports), " ", ","), "[]")
	}
	return s
}

// describeOp is an operation in a line: what ipvsadm would be told, where it has a command.
func describeOp(op *control.Op) string {
	id := op.Service.ID.String()
	switch op.Kind {
	case control.AddService:
		return fmt.Sprintf("add service %s (%s)", id, serviceOptions(&op.Service))
	case control.EditService:
		return fmt.Sprintf("change service %s (%s)", id, serviceOptions(&op.Service))
	case control.DeleteService:
		return "remove service " + id
	case control.AddServer:
		return fmt.Sprintf("add server %s to %s (%s)", op.Server.ServerID, id, serverOptions(&op.Server))
	case control.EditServer:
		return fmt.Sprintf("change server %s of %s (%s)", op.Server.ServerID, id, serverOptions(&op.Server))
	case control.DeleteServer:
		return fmt.Sprintf("remove server %s from %s", op.Server.ServerID, id)
	case control.SetTimeouts:
		var parts []string // 0 leaves one as it is
		for _, v := range []struct {
			name    string
			seconds uint32
		}{{"tcp", op.Timeouts.TCP}, {"tcpfin", op.Timeouts.TCPFin}, {"udp", op.Timeouts.UDP}} {
			if v.seconds != 0 {
				parts = append(parts, fmt.Sprintf("%s %ds", v.name, v.seconds))
			}
		}
		return "timeouts " + or(strings.Join(parts, ", "), "as they were")
	case control.SetTunable:
		return fmt.Sprintf("tunable %s %s", op.Name, op.Value)
	case control.SetMarks:
		return fmt.Sprintf("marks: %d rules", len(op.Marks))
	case control.Zero:
		if op.Service.ID == (service.ID{}) {
			return "zero all counters"
		}
		return "zero the counters of " + id
	case control.StartDaemon, control.StopDaemon:
		verb, _, _ := strings.Cut(string(op.Kind), "-")
		return fmt.Sprintf("%s the %s synchronisation daemon", verb, op.Daemon.State)
	}
	return string(op.Kind)
}

// show prints a setting for Action.
func show(v any) string {
	var parts []string
	switch v := v.(type) {
	case []Interface:
		for i := range v {
			parts = append(parts, v[i].describe())
		}
	case []Neighbor:
		for i := range v {
			parts = append(parts, v[i].Addr.String()+" "+net.HardwareAddr(v[i].MAC[:]).String())
		}
	case []Route:
		for i := range v {
			parts = append(parts, v[i].To.String()+" via "+v[i].Via.String())
		}
	case Log:
		return fmt.Sprintf("level %s, format %s", v.Level, v.Format)
	case string:
		return or(v, `""`)
	default:
		return fmt.Sprint(v)
	}
	return or(strings.Join(parts, ", "), "none")
}

// describe is an interface with what is not at its default.
func (i *Interface) describe() string {
	var parts []string
	if i.Attach != "auto" {
		parts = append(parts, "attach "+i.Attach)
	}
	if len(i.Queues) > 0 {
		parts = append(parts, "queues "+list(i.Queues, "all"))
	}
	if i.VLAN != 0 {
		parts = append(parts, fmt.Sprintf("VLAN %d on %s", i.VLAN, i.Parent))
	}
	if i.MAC != [6]byte{} {
		parts = append(parts, "MAC "+net.HardwareAddr(i.MAC[:]).String())
	}
	for _, a := range i.Addresses {
		parts = append(parts, a.String())
	}
	if i.MTU != DefaultMTU {
		parts = append(parts, fmt.Sprintf("MTU %d", i.MTU))
	}
	if len(parts) == 0 {
		return i.Name
	}
	return i.Name + " (" + strings.Join(parts, "; ") + ")"
}
