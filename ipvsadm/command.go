package ipvsadm

import (
	"fmt"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// action is what a command line asks for, in the words of messages.
type action string

const (
	addService    = action(control.AddService)
	editService   = action(control.EditService)
	deleteService = action(control.DeleteService)
	flush         = action(control.Flush)
	list          = action("list")
	addServer     = action(control.AddServer)
	deleteServer  = action(control.DeleteServer)
	editServer    = action(control.EditServer)
	set           = action(control.SetTimeouts)
	startDaemon   = action(control.StartDaemon)
	stopDaemon    = action(control.StopDaemon)
	restore       = action("restore")
	save          = action("save")
	zero          = action(control.Zero)
	help          = action("help")
	showVersion   = action("version")
)

// actions says which command each command option gives.
var actions = map[optionID]action{
	optAddService: addService, optEditService: editService, optDeleteService: deleteService, optClear: flush,
	optAddServer: addServer, optEditServer: editServer, optDeleteServer: deleteServer, optList: list, optListToo: list,
	optZero: zero, optSet: set, optRestore: restore, optSave: save, optStartDaemon: startDaemon,
	optStopDaemon: stopDaemon, optHelp: help, optVersion: showVersion,
}

// Command is one command line, understood and found legal.
type Command struct {
	action   action
	service  service.Spec
	server   service.ServerSpec
	timeouts service.Timeouts
	daemon   control.Daemon
	format   format
	given    options64
}

// options64 is a set of optionIDs that have a row in the table of legality.
type options64 uint64

func (s options64) has(ids ...optionID) bool {
	for _, id := range ids {
		if s&(1<<id) != 0 {
			return true
		}
	}
	return false
}

// Op is the change that the command asks for; false: it asks for none (a listing, -S, -R, -h, -v).
func (c *Command) Op() (control.Op, bool) {
	op := control.Op{Kind: control.Kind(c.action)}
	switch c.action {
	case addService, editService:
		op.Service = c.service
	case deleteService, zero:
		op.Service.ID = c.service.ID
	case addServer, editServer:
		op.Service.ID, op.Server = c.service.ID, c.server
	case deleteServer:
		op.Service.ID, op.Server.ServerID = c.service.ID, c.server.ServerID
	case set:
		op.Timeouts = c.timeouts
	case startDaemon, stopDaemon:
		op.Daemon = c.daemon
	case flush:
	default:
		return control.Op{}, false
	}
	return op, true
}

// Fault is why a command line was not carried out.
type Fault struct {
	Text   string // as on stderr, without the last newline
	Status int    // exit status
	Ends   bool   // ends a -R too, with this status
}

func (f *Fault) Error() string { return f.Text }

// wrong is a fault of the command line: status 2.
func wrong(format string, args ...any) error {
	return &Fault{Text: fmt.Sprintf(format, args...), Status: 2, Ends: true}
}

// tryHelp is the answer to a line that does not begin with a command.
func tryHelp() error {
	return &Fault{Text: "Try `ipvsadm -h' or 'ipvsadm --help' for more information.", Status: 255, Ends: true}
}
