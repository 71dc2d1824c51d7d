package director

import (
	"errors"
	"testing"

	"github.com/fastlb/fastlb/control"
)

func TestUnsupported(t *testing.T) {
	var notYet *control.NotYet
	if err := unsupported(control.Op{Kind: control.StartDaemon}); !errors.As(err, &notYet) {
		t.Errorf("a sync daemon: %v", err)
	}
	for _, k := range []control.Kind{control.StopDaemon, control.AddService, control.Flush, control.SetTunable} {
		if err := unsupported(control.Op{Kind: k}); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
}
