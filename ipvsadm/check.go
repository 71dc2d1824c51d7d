package ipvsadm

import (
	"strings"

	"github.com/fastlb/fastlb/service"
)

// schedulerFlag is a name that -b knows.
type schedulerFlag struct {
	name      string
	flag      service.SchedFlags
	scheduler string // the only one that it goes with; "": any
}

var schedulerFlags = []schedulerFlag{
	{"flag-1", service.SchedFlag1, ""},
	{"flag-2", service.SchedFlag2, ""},
	{"flag-3", service.SchedFlag3, ""},
	{"sh-fallback", service.SchedFlag1, "sh"},
	{"sh-port", service.SchedFlag2, "sh"},
	{"mh-fallback", service.SchedFlag1, "mh"},
	{"mh-port", service.SchedFlag2, "mh"},
}

// schedFlags understands -b by the scheduler that -s named.
func (p *parser) schedFlags() error {
	if p.flags == "" {
		return nil
	}
	flags, err := ParseFlags(p.cmd.service.Scheduler, strings.FieldsFunc(p.flags, func(r rune) bool { return r == ',' }))
	if err != nil {
		return err
	}
	if strings.Trim(p.flags, ",") == "" { // ipvsadm dies of this
		return wrong("invalid scheduler flag `%s'", p.flags)
	}
	p.cmd.service.Flags = flags
	return nil
}

// ParseFlags adds up scheduler flags; its error, a *Fault, names the one that is unknown or of another scheduler.
func ParseFlags(scheduler string, names []string) (flags service.SchedFlags, err error) {
next:
	for _, name := range names {
		for _, f := range schedulerFlags {
			if f.name != name {
				continue
			}
			if f.scheduler != "" && f.scheduler != scheduler {
				return 0, wrong("incompatible scheduler flag `%s'", name)
			}
			flags |= f.flag
			continue next
		}
		return 0, wrong("invalid scheduler flag `%s'", name)
	}
	return flags, nil
}

// legality looks the options up in the table.
func (p *parser) legality() error {
	row := legality[p.cmd.action]
	return legal(row, 0, p.cmd.given, string(p.cmd.action), "command")
}

// legal checks the options from first on against a row of a table; what and kind are words of the message.
func legal(row string, first optionID, given options64, what, kind string) error {
	one, last := false, optionID(0)
	for i := range row {
		id := first + optionID(i)
		switch name := optionNames[id]; {
		case !given.has(id):
			if row[i] == '+' {
				return wrong("You need to supply the '%s' option for the '%s' %s", name, what, kind)
			}
		case row[i] == 'x':
			return wrong("Illegal '%s' option with the '%s' %s", name, what, kind)
		case row[i] == '1':
			if one {
				return wrong("The option '%s' conflicts with the '%s' option in the '%s' %s", name, optionNames[last], what, kind)
			}
			one, last = true, id
		}
	}
	return nil
}

// serviceRules are those of -A and -E.
func (p *parser) serviceRules() error {
	svc := &p.cmd.service
	if p.cmd.action != addService && p.cmd.action != editService || svc.Mark != 0 {
		return nil
	}
	if svc.Port == 0 && !svc.Persistent {
		return wrong("Zero port specified for non-persistent service")
	}
	if svc.OnePacket && svc.Protocol != service.UDP {
		return wrong("One-Packet Scheduling is only for UDP virtual services")
	}
	return nil
}

// serverRules are those of -a and -e.
func (p *parser) serverRules() error {
	if p.cmd.action != addServer && p.cmd.action != editServer {
		return nil
	}
	svc, srv := &p.cmd.service, &p.cmd.server
	if svc.Mark == 0 && srv.Method != service.NAT {
		srv.Port = svc.Port // nobody on the way can translate it
	}
	if p.family != svc.Family && srv.Method != service.Tunnel {
		return wrong("Different address family is allowed only for tunneling servers")
	}
	if p.cmd.given.has(optTunType, optTunPort, optTunNoCsum, optTunCsum, optTunRemCsum) && srv.Method != service.Tunnel {
		return wrong("Tunnel options conflict with forward method")
	}
	return legal(tunnelLegality[srv.Tunnel], optTunType, p.cmd.given, tunnelNames[srv.Tunnel], "tunnel type")
}

// listRules are those of -L that the table does not hold.
func (p *parser) listRules() error {
	if p.cmd.action != list {
		return nil
	}
	g := p.cmd.given
	if g.has(optConnection, optTimeout, optDaemon) && g.has(optStats, optRate, optThresholds) ||
		g.has(optTimeout, optDaemon) && g.has(optPersistentConn) {
		return wrong("options conflicts in the list command")
	}
	return nil
}
