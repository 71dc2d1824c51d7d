package ipvsadm

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/fastlb/fastlb/control"
)

// refusal is a row of ipvsadm's table of messages.
type refusal struct {
	action action // "": any
	errno  syscall.Errno
	text   string
}

var refusals = []refusal{
	{addService, syscall.EEXIST, "Service already exists"},
	{addService, syscall.ENOENT, "Scheduler or persistence engine not found"},
	{editService, syscall.ESRCH, "No such service"},
	{editService, syscall.ENOENT, "Scheduler or persistence engine not found"},
	{deleteService, syscall.ESRCH, "No such service"},
	{zero, syscall.ESRCH, "No such service"},
	{list, syscall.ESRCH, "No such service"},
	{addServer, syscall.ESRCH, "Service not defined"},
	{addServer, syscall.EEXIST, "Destination already exists"},
	{editServer, syscall.ESRCH, "Service not defined"},
	{editServer, syscall.ENOENT, "No such destination"},
	{deleteServer, syscall.ESRCH, "Service not defined"},
	{deleteServer, syscall.ENOENT, "No such destination"},
	{startDaemon, syscall.EEXIST, "Daemon has already run"},
	{stopDaemon, syscall.ESRCH, "No daemon is running"},
	{"", syscall.EPERM, "Permission denied (you must be root)"},
	{"", syscall.EINVAL, "Invalid operation.  Possibly wrong module version, address not unicast, ..."},
	{"", syscall.ENOPROTOOPT, "Protocol not available"},
	{"", syscall.ENOMEM, "Memory allocation problem"},
	{"", syscall.EOPNOTSUPP, "Operation not supported with IPv6"},
	{"", syscall.EAFNOSUPPORT, "Operation not supported with specified address family"},
	{"", syscall.EMSGSIZE, "Module is wrong version"},
}

// refusalText is ipvsadm's message for an errno: its own, else the C library's.
func refusalText(a action, errno syscall.Errno) string {
	for _, r := range refusals {
		if (r.action == "" || r.action == a) && r.errno == errno {
			return r.text
		}
	}
	text := errno.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// doFault is the fault of a change that the engine refused.
func (p *program) doFault(err error, c *Command) error {
	return p.engineFault(err, c.action, c, Fault{Status: 255})
}

// listFault is the fault of a listing; c names the service that was asked for, if one was.
func (p *program) listFault(err error, c *Command) error {
	return p.engineFault(err, list, c, Fault{Status: 1, Ends: true})
}

// engineFault turns an engine's error into ipvsadm's message, with a second line of fastlb's own where that one misleads.
func (p *program) engineFault(err error, a action, c *Command, f Fault) error {
	var notYet *control.NotYet
	var dial *net.OpError
	var errno syscall.Errno
	switch {
	case errors.As(err, &notYet):
		f.Text = "fastlb: " + notYet.Error()
	case errors.As(err, &dial) && dial.Op == "dial":
		return unreachable(dial)
	case errors.As(err, &errno):
		f.Text = refusalText(a, errno)
		if c != nil {
			if hint := p.hint(a, errno, c); hint != "" {
				f.Text += "\nfastlb: " + hint
			}
		}
	default:
		f.Text = "fastlb: " + err.Error()
	}
	return &f
}

// unreachable is the fault where no director answers: what ipvsadm says where the kernel has no IPVS.
func unreachable(dial *net.OpError) error {
	var errno syscall.Errno
	reason := dial.Err.Error()
	if errors.As(dial, &errno) {
		reason = refusalText("", errno)
	}
	where, todo := "", "start one with fastlb run, or name its socket with FASTLB_SOCKET"
	if dial.Addr != nil {
		where = " at " + dial.Addr.String()
	}
	if errors.Is(dial, syscall.EACCES) {
		todo = "its socket is for root and the members of its group"
	}
	return wrong("Can't initialize ipvs: %s\nAre you sure that IP Virtual Server is built in the kernel or as module?\nfastlb: %s",
		reason, fmt.Sprintf("no director answers%s: %s", where, todo))
}
