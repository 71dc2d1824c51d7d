//go:build !linux

package director

import (
	"errors"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// Director is a running director; on this system there is none.
type Director struct{}

var errNeedsLinux = errors.New("a director needs Linux: AF_XDP is its")

// New fails.
func New(Options) (*Director, error) { return nil, errNeedsLinux }

// Apply fails.
func (*Director) Apply([]control.Op) (int, error) { return 0, errNeedsLinux }

// Info fails.
func (*Director) Info() (control.Info, error) { return control.Info{}, errNeedsLinux }

// Services fails.
func (*Director) Services() ([]control.ServiceEntry, error) { return nil, errNeedsLinux }

// Ages fails.
func (*Director) Ages() ([]control.ServiceEntry, error) { return nil, errNeedsLinux }

// Connections fails.
func (*Director) Connections(func(control.ConnEntry) error) error { return errNeedsLinux }

// Timeouts fails.
func (*Director) Timeouts() (service.Timeouts, error) { return service.Timeouts{}, errNeedsLinux }

// Daemons fails.
func (*Director) Daemons() ([]control.Daemon, error) { return nil, errNeedsLinux }

// Status fails.
func (*Director) Status() (Status, error) { return Status{}, errNeedsLinux }

// Reload fails.
func (*Director) Reload() (Reloaded, error) { return Reloaded{}, errNeedsLinux }

// Stop does nothing.
func (*Director) Stop() error { return nil }
