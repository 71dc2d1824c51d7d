package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fastlb/fastlb/conformance/wire"
	"github.com/fastlb/fastlb/internal/vm"
)

// Machine is the computer in which the kernel's IPVS plays cases.
type Machine struct {
	Image string // folder that the script internal/vm/image made
	Guest string // the guest's program, a static binary
}

// Version is the kernel's.
func (m *Machine) Version() string { return vm.Version(m.Image) }

// Play boots the machine once, has it play the cases, and calls got for each result as it comes. It is an error if
// results are missing; the message ends with what the guest's kernel said last.
func (m *Machine) Play(ctx context.Context, cases []wire.Case, got func(*wire.Result)) error {
	guest, err := os.ReadFile(m.Guest)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	e := json.NewEncoder(&lines)
	for i := range cases {
		if err := e.Encode(&cases[i]); err != nil {
			return err
		}
	}
	machine, err := vm.Start(ctx, vm.Config{
		Image: m.Image,
		Files: []vm.File{{Name: "init", Mode: 0o100755, Data: guest}, {Name: "cases.json", Mode: 0o100644, Data: lines.Bytes()}},
		Args:  []string{"-nic", "none", "-icount", "shift=2,sleep=off"}, // time is instructions; idle time is skipped
	})
	if err != nil {
		return err
	}
	n := 0
	for d := json.NewDecoder(machine.Port); err == nil; {
		var r wire.Result
		if err = d.Decode(&r); err == nil {
			n++
			got(&r)
		}
	}
	console := machine.Console()
	if end := machine.Wait(); end != nil || !errors.Is(err, io.EOF) || n != len(cases) {
		return fmt.Errorf("the guest played %d of %d cases: %w\n%s", n, len(cases), errors.Join(err, end), console)
	}
	return nil
}
