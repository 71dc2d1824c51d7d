package ipvsadm

// optionID names an option. Those up to lastChecked have a row in the table of legality, in the order that it is
// searched in.
type optionID uint8

const (
	optNumeric optionID = iota
	optConnection
	optService // -t, -u, --sctp-service and -f count as one
	optScheduler
	optPersistent
	optNetmask
	optServer
	optForward // -g, -i and -m count as one
	optWeight
	optUpper
	optLower
	optMcast
	optTimeout
	optDaemon
	optStats
	optRate
	optThresholds
	optPersistentConn
	optNoSort
	optSyncID
	optExact
	optOps
	optEngine
	optSchedFlags
	optMcastGroup
	optMcastPort
	optMcastTTL
	optMaxLen
	optTunInfo
	optTunType
	optTunPort
	optTunNoCsum
	optTunCsum
	optTunRemCsum

	// spellings of the above
	optTCP
	optUDP
	optSCTP
	optMark
	optDR
	optTunnel
	optNAT

	// without a row
	optIPv6
	optSort

	// commands
	optAddService
	optEditService
	optDeleteService
	optClear
	optAddServer
	optEditServer
	optDeleteServer
	optList
	optListToo
	optZero
	optSet
	optRestore
	optSave
	optStartDaemon
	optStopDaemon
	optHelp
	optVersion
)

// lastChecked is the last with a row.
const lastChecked = optTunRemCsum

// options is ipvsadm's option table.
var options = []option{
	{optAddService, "add-service", 'A', noArgument},
	{optEditService, "edit-service", 'E', noArgument},
	{optDeleteService, "delete-service", 'D', noArgument},
	{optClear, "clear", 'C', noArgument},
	{optList, "list", 'L', noArgument},
	{optListToo, "list", 'l', noArgument},
	{optZero, "zero", 'Z', noArgument},
	{optAddServer, "add-server", 'a', noArgument},
	{optEditServer, "edit-server", 'e', noArgument},
	{optDeleteServer, "delete-server", 'd', noArgument},
	{optSet, "set", 0, noArgument},
	{optHelp, "help", 'h', noArgument},
	{optVersion, "version", 'v', noArgument},
	{optRestore, "restore", 'R', noArgument},
	{optSave, "save", 'S', noArgument},
	{optStartDaemon, "start-daemon", 0, oneArgument},
	{optStopDaemon, "stop-daemon", 0, oneArgument},
	{optTCP, "tcp-service", 't', oneArgument},
	{optUDP, "udp-service", 'u', oneArgument},
	{optSCTP, "sctp-service", 0, oneArgument},
	{optMark, "fwmark-service", 'f', oneArgument},
	{optIPv6, "ipv6", '6', noArgument},
	{optScheduler, "scheduler", 's', oneArgument},
	{optPersistent, "persistent", 'p', maybeArgument},
	{optNetmask, "netmask", 'M', oneArgument},
	{optEngine, "pe", 0, oneArgument},
	{optOps, "ops", 'o', noArgument},
	{optSchedFlags, "sched-flags", 'b', oneArgument},
	{optServer, "real-server", 'r', oneArgument},
	{optDR, "gatewaying", 'g', noArgument},
	{optTunnel, "ipip", 'i', noArgument},
	{optNAT, "masquerading", 'm', noArgument},
	{optWeight, "weight", 'w', oneArgument},
	{optUpper, "u-threshold", 'x', oneArgument},
	{optLower, "l-threshold", 'y', oneArgument},
	{optTunType, "tun-type", 0, oneArgument},
	{optTunPort, "tun-port", 0, oneArgument},
	{optTunNoCsum, "tun-nocsum", 0, noArgument},
	{optTunCsum, "tun-csum", 0, noArgument},
	{optTunRemCsum, "tun-remcsum", 0, noArgument},
	{optNumeric, "numeric", 'n', noArgument},
	{optConnection, "connection", 'c', noArgument},
	{optTimeout, "timeout", 0, noArgument},
	{optDaemon, "daemon", 0, noArgument},
	{optStats, "stats", 0, noArgument},
	{optRate, "rate", 0, noArgument},
	{optThresholds, "thresholds", 0, noArgument},
	{optPersistentConn, "persistent-conn", 0, noArgument},
	{optTunInfo, "tun-info", 0, noArgument},
	{optExact, "exact", 'X', noArgument},
	{optNoSort, "nosort", 0, noArgument},
	{optSort, "sort", 0, noArgument},
	{optMcast, "mcast-interface", 0, oneArgument},
	{optSyncID, "syncid", 0, oneArgument},
	{optMcastGroup, "mcast-group", 0, oneArgument},
	{optMcastPort, "mcast-port", 0, oneArgument},
	{optMcastTTL, "mcast-ttl", 0, oneArgument},
	{optMaxLen, "sync-maxlen", 0, oneArgument},
}

// optionNames are the names that messages use.
var optionNames = [lastChecked + 1]string{
	"numeric", "connection", "service-address", "scheduler", "persistent", "netmask", "real-server",
	"forwarding-method", "weight", "u-threshold", "l-threshold", "mcast-interface", "timeout", "daemon", "stats",
	"rate", "thresholds", "persistent-conn", "nosort", "syncid", "exact", "ops", "pe", "sched-flags", "mcast-group",
	"mcast-port", "mcast-ttl", "sync-maxlen", "tun-info", "tun-type", "tun-port", "tun-nocsum", "tun-csum",
	"tun-remcsum",
}

// legality has a row for each command and a column for each option, in the order of optionNames: '+' compulsory,
// 'x' illegal, '1' at most one of these, ' ' as you like.
var legality = map[action]string{
	//                  n c t s p M r g w x y m t d s r t p n s X o p b g p t l i t p n c r
	addService:    expand("x x +       x x x x x x x x x x x x x x x       x x x x x x x x x x"),
	editService:   expand("x x +       x x x x x x x x x x x x x x x       x x x x x x x x x x"),
	deleteService: expand("x x + x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x"),
	flush:         expand("x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x"),
	list:          expand("  1 1 x x x x x x x x x 1 1               x x x x x x x   x x x x x"),
	addServer:     expand("x x + x x x +         x x x x x x x x x x x x x x x x x x          "),
	deleteServer:  expand("x x + x x x + x x x x x x x x x x x x x x x x x x x x x x x x x x x"),
	editServer:    expand("x x + x x x +         x x x x x x x x x x x x x x x x x x          "),
	set:           expand("x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x"),
	startDaemon:   expand("x x x x x x x x x x x   x x x x x x x   x x x x         x x x x x x"),
	stopDaemon:    expand("x x x x x x x x x x x x x x x x x x x   x x x x x x x x x x x x x x"),
	restore:       expand("x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x"),
	save:          expand("  x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x"),
	zero:          expand("x x   x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x"),
}

// tunnelLegality is the same for the options of a tunnel: type, port, nocsum, csum, remcsum.
var tunnelLegality = [...]string{
	expand("  x x x x"), // ipip
	expand("  + 1 1 1"), // gue
	expand("  x 1 1 x"), // gre
}

// expand takes every other byte: the rows above are spaced to be read.
func expand(row string) string {
	b := make([]byte, 0, len(row)/2+1)
	for i := 0; i < len(row); i += 2 {
		b = append(b, row[i])
	}
	return string(b)
}
