package replay

import (
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// localEngine is ipvsadm.Engine over the engine's control path, at the engine's time.
type localEngine struct{ e *Engine }

func (l localEngine) Do(op control.Op) error                    { return l.e.Apply(op) }
func (l localEngine) Info() (control.Info, error)               { return l.e.control.Info() }
func (l localEngine) Services() ([]control.ServiceEntry, error) { return l.e.control.Services() }
func (l localEngine) Timeouts() (service.Timeouts, error)       { return l.e.control.Timeouts() }
func (l localEngine) Daemons() ([]control.Daemon, error)        { return l.e.control.Daemons() }
func (l localEngine) Connections(y func(control.ConnEntry) error) error {
	return l.e.control.ConnectionsAt(l.e.now, y)
}
