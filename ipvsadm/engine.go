package ipvsadm

import (
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// Engine is the table that commands are carried out on: the kernel's part of LVS.
type Engine interface {
	// Do carries out one change, whole or not at all. Its error carries an errno (errors.As to *service.Error) or is
	// a *control.NotYet.
	Do(op control.Op) error
	// Info is what the header of a listing says.
	Info() (control.Info, error)
	// Services lists every service in the order it was added, its servers latest first.
	Services() ([]control.ServiceEntry, error)
	// Connections calls yield for each connection and template in table order, until one call returns an error,
	// which it returns.
	Connections(yield func(control.ConnEntry) error) error
	// Timeouts are those that SetTimeouts sets.
	Timeouts() (service.Timeouts, error)
	// Daemons lists the running synchronisation daemons.
	Daemons() ([]control.Daemon, error)
}
