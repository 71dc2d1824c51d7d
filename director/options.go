package director

import (
	"go.uber.org/zap"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
)

// Options of New.
type Options struct {
	Config  *config.Config
	File    string // of the configuration, for status; "": none
	Version string // for status

	// Load reads the configuration again, with whatever overrides it; nil: there is none to reload.
	Load func() (*config.Config, error)
	// SetLog changes level and format of the log; nil: they stay.
	SetLog func(config.Log) error

	Log *zap.Logger // nil: nothing is logged
}

// unsupported refuses what the table would take but nothing would carry out: a daemon that is listed as running and sends
// nothing is worse than none.
func unsupported(op control.Op) error {
	if op.Kind == control.StartDaemon {
		return &control.NotYet{What: "synchronisation daemons"}
	}
	return nil
}
