package scenario_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/internal/scenario"
	"github.com/fastlb/fastlb/perf"
)

var update = flag.Bool("update", false, "write the scenarios anew, as they come out")

// elsewhere are the reasons that no replay can show, with where they are shown.
var elsewhere = map[string]string{
	"no_frame":        "a replay has frames enough: worker's own tests",
	"tx_full":         "memory ports are never full: worker's own tests",
	"no_port":         "every interface of a replay has a port: worker's own tests",
	"pass_queue_full": "a replay's kernel takes everything: worker's own tests",
	"handover_full":   "workers take turns, so no fragment waits: worker's own tests",
}

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	met := map[string]bool{}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			s, err := scenario.Read(name)
			if err != nil {
				t.Fatal(err)
			}
			faults, text, reasons, err := s.Run()
			if err != nil {
				t.Fatal(err)
			}
			for r := range reasons {
				met[r] = true
			}
			if *update {
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, f := range faults {
				t.Errorf("%s", f)
			}
			if b, _ := os.ReadFile(name); len(faults) == 0 && string(b) != text {
				t.Errorf("is not laid out as -update would")
			}
		})
	}
	t.Run("reasons", func(t *testing.T) { everyReason(t, met) })
}

// everyReason fails on a reason for dropping or passing a packet that no scenario shows.
func everyReason(t *testing.T, met map[string]bool) {
	for r := perf.Reason(1); int(r) < perf.Reasons; r++ {
		why, listed := elsewhere[r.String()]
		switch {
		case met[r.String()] && listed:
			t.Errorf("%s occurs in a scenario: take it off the list (%s)", r, why)
		case !met[r.String()] && !listed:
			t.Errorf("%s (%s) occurs in no scenario", r, r.Doc())
		}
	}
}
