package ipvsadm

import (
	"math"
	"net/netip"
	"strings"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

const (
	defaultScheduler   = "wlc"
	defaultPersistence = 360     // seconds
	maxTimeout         = 2678400 // seconds: 31 days
	defaultMcast       = "eth0"

	schedulerLength = 15 // bytes that are kept of a scheduler's name
	engineLength    = 16 // … of a persistence engine's
	interfaceLength = 15 // … of an interface's
	flagsLength     = 127
)

// Parse understands one command line, given without the program's name, as ipvsadm does: the same checks in the same
// order. Its error is a *Fault. An empty line lists.
func Parse(words []string, names *Names) (*Command, error) {
	p := parser{popt: popt{words: words}, names: names}
	p.cmd.server.Weight = 1
	p.cmd.server.Method = service.DR
	p.cmd.service.Netmask = math.MaxUint32
	if len(words) == 0 {
		p.cmd.action = list
		return &p.cmd, nil
	}
	for _, stage := range []func() error{
		p.command, p.options, p.setValues, p.leftOver, p.schedFlags, p.legality, p.serviceRules, p.serverRules, p.listRules,
	} {
		if err := stage(); err != nil {
			return nil, err
		}
		if p.cmd.action == help || p.cmd.action == showVersion {
			return &p.cmd, nil
		}
	}
	p.finish()
	return &p.cmd, nil
}

// parser is one command line being understood.
type parser struct {
	popt
	cmd    Command
	names  *Names
	flags  string // -b, to be understood when the scheduler is known
	family uint8  // of -r, which a v4-mapped address does not tell
}

// command takes the first option, which must be a command.
func (p *parser) command() error {
	o, arg, _, ok, err := p.option()
	if !ok || err != nil || actions[o.id] == "" {
		return tryHelp()
	}
	p.cmd.action = actions[o.id]
	p.cmd.daemon.State = control.DaemonState(arg)
	if arg == "master" || arg == "backup" {
		return nil
	}
	switch o.id {
	case optStartDaemon:
		return wrong("illegal start-daemon parameter specified")
	case optStopDaemon:
		return wrong("illegal start_daemon specified")
	}
	return nil
}

// options takes all others.
func (p *parser) options() error {
	for {
		o, arg, given, ok, err := p.option()
		switch {
		case err != nil:
			return &Fault{Text: err.Error(), Status: 255}
		case !ok:
			return nil
		}
		if row, ok := row(o.id); ok {
			if p.cmd.given.has(row) {
				return wrong("multiple '%s' options specified", optionNames[row])
			}
			p.cmd.given |= 1 << row
		}
		if err := p.value(o.id, arg, given); err != nil {
			return err
		}
	}
}

// row is the row of the table of legality that an option counts for.
func row(id optionID) (optionID, bool) {
	switch id {
	case optTCP, optUDP, optSCTP, optMark:
		return optService, true
	case optDR, optTunnel, optNAT:
		return optForward, true
	}
	return id, id <= lastChecked
}

// value stores what one option says.
func (p *parser) value(id optionID, arg string, given bool) error {
	svc, srv, d := &p.cmd.service, &p.cmd.server, &p.cmd.daemon
	switch id {
	case optTCP, optUDP, optSCTP:
		svc.Protocol = map[optionID]uint8{optTCP: service.TCP, optUDP: service.UDP, optSCTP: service.SCTP}[id]
		a, ok := p.names.parseAddress(arg, svc.Protocol)
		if !ok {
			return wrong("illegal virtual server address[:port] specified")
		}
		svc.Family, svc.Addr, svc.Port = a.family, a.addr, a.port
		if a.family == 6 {
			svc.Netmask = 128
		}
	case optMark:
		n, ok := number(arg)
		if !ok || n <= 0 || n > math.MaxUint32 {
			return wrong("invalid fwmark value `%s' specified", arg)
		}
		svc.Family, svc.Mark = 4, uint32(n)
	case optIPv6:
		if svc.Mark == 0 {
			return wrong("-6 used before -f\n")
		}
		svc.Family, svc.Netmask = 6, 128
	case optScheduler:
		svc.Scheduler = cut(arg, schedulerLength)
	case optPersistent:
		svc.Persistent, svc.Timeout = true, defaultPersistence
		if given {
			n, err := timeout(arg, 1)
			if err != nil {
				return err
			}
			svc.Timeout = n
		}
	case optNetmask:
		return p.netmask(arg)
	case optOps:
		svc.OnePacket = true
	case optEngine:
		svc.Engine = cut(arg, engineLength)
	case optSchedFlags:
		p.flags = cut(arg, flagsLength)
	case optServer:
		protocol := svc.Protocol
		if svc.Mark != 0 {
			protocol = service.TCP
		}
		a, ok := p.names.parseAddress(arg, protocol)
		if !ok {
			return wrong("illegal real server address[:port] specified")
		}
		if !a.hasPort {
			a.port = svc.Port
		}
		p.family = a.family
		srv.Addr, srv.Port = a.addr, a.port
	case optDR:
		srv.Method = service.DR
	case optTunnel:
		srv.Method = service.Tunnel
	case optNAT:
		srv.Method = service.NAT
	case optWeight:
		return store(&srv.Weight, arg, 0, math.MaxInt32, "illegal weight specified")
	case optUpper:
		return store(&srv.Upper, arg, 0, math.MaxInt32, "illegal u_threshold specified")
	case optLower:
		return store(&srv.Lower, arg, 0, math.MaxInt32, "illegal l_threshold specified")
	case optTunType:
		t, ok := map[string]service.TunnelType{"ipip": service.IPIP, "gue": service.GUE, "gre": service.GRE}[arg]
		if !ok {
			return wrong("illegal tunnel type specified")
		}
		srv.Tunnel = t
	case optTunPort:
		return store(&srv.TunPort, arg, 1, math.MaxUint16, "illegal tunnel port specified")
	case optTunNoCsum:
		srv.TunSum = service.NoChecksum
	case optTunCsum:
		srv.TunSum = service.Checksum
	case optTunRemCsum:
		srv.TunSum = service.RemoteChecksum
	case optMcast:
		d.Interface = cut(arg, interfaceLength)
	case optSyncID:
		return store(&d.SyncID, arg, 0, math.MaxUint8, "illegal syncid specified")
	case optMcastGroup:
		return p.group(arg)
	case optMcastPort:
		return store(&d.Port, arg, 1, math.MaxUint16, "illegal mcast-port specified")
	case optMcastTTL:
		return store(&d.TTL, arg, 1, math.MaxUint8, "illegal mcast-ttl specified")
	case optMaxLen:
		return store(&d.MaxLen, arg, 1, 65507, "illegal sync-maxlen specified")
	default:
		if id > lastChecked && id != optSort {
			return wrong("invalid option `%s'", p.word()) // a second command
		}
	}
	return nil
}

// netmask understands -M by the family known so far.
func (p *parser) netmask(arg string) error {
	svc := &p.cmd.service
	if svc.Family == 6 {
		n := leadingNumber(arg)
		if n < 1 || n > 128 {
			return wrong("illegal ipv6 netmask specified")
		}
		svc.Netmask = uint32(n)
		return nil
	}
	a, ok := p.names.parseHost(arg)
	if !ok {
		return wrong("illegal virtual server persistent mask specified")
	}
	b := a.As4()
	svc.Netmask = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	return nil
}

// group understands --mcast-group.
func (p *parser) group(arg string) error {
	a, err := netip.ParseAddr(arg)
	if strings.Contains(arg, ":") {
		if err != nil || !a.Is6() || a.Zone() != "" || a.As16()[0] != 0xff {
			return wrong("invalid IPv6 mcast-group `%s'", arg)
		}
	} else if err != nil || !a.IsMulticast() {
		return wrong("invalid IPv4 mcast-group `%s'", arg)
	}
	p.cmd.daemon.Group = a
	return nil
}

// setValues takes the three words of --set.
func (p *parser) setValues() error {
	if p.cmd.action != set {
		return nil
	}
	if len(p.left) < 3 {
		return wrong("--set option requires 3 timeout values")
	}
	t := &p.cmd.timeouts
	for i, v := range []*uint32{&t.TCP, &t.TCPFin, &t.UDP} {
		n, err := timeout(p.left[i], 0)
		if err != nil {
			return err
		}
		*v = n
	}
	p.left = p.left[3:]
	return nil
}

func (p *parser) leftOver() error {
	if len(p.left) > 0 {
		return wrong("unexpected argument %s", p.left[0])
	}
	return nil
}

// finish fills in what was not said and depends on the command.
func (p *parser) finish() {
	if p.cmd.service.Scheduler == "" {
		p.cmd.service.Scheduler = defaultScheduler
	}
	if p.cmd.action == startDaemon && p.cmd.daemon.Interface == "" {
		p.cmd.daemon.Interface = defaultMcast
	}
	p.cmd.format = formatOf(p.cmd.given)
}
