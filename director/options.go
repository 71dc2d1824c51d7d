package director

import (
	"go.uber.org/zap"

	"github.com/fastlb/fastlb/config"
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

	apart bool // no interfaces share frames: tests force what only some drivers make necessary
}
