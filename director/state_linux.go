package director

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/service"
)

// slotCapacity is how many real servers there can be, removed ones with connections included.
const slotCapacity = 1 << 14

// state is the connection table and the servers' slots in the memory under them: a file that outlasts the process, or
// memory without a name.
type state struct {
	memory *flow.Memory
	flows  *flow.Table
	slots  *service.Slots
	found  int // connections that were there
}

// openState opens or makes the table. Table and slots are adopted together or not at all: connections name servers by
// their slots. A file that cannot be adopted is put aside, and the warning says why.
func openState(path string, capacity uint32, workers int, seed [2]uint64, huge flow.HugePages) (_ *state, warning string, err error) {
	if path != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, "", fmt.Errorf("flows.state: %w", err)
		}
	}
	o := flow.MapOptions{Path: path, HugePages: huge, Regions: []flow.RegionSpec{
		{Name: "flows", Size: flow.Size(capacity)}, {Name: "servers", Size: service.SlotsSize(slotCapacity)},
	}}
	for {
		s := &state{}
		if s.memory, err = flow.Map(o); err == nil {
			if err = s.attach(capacity, workers, seed); err == nil {
				return s, warning, nil
			}
			err = errors.Join(err, s.memory.Close())
		}
		foreign := errors.Is(err, flow.ErrStateLayout) || errors.Is(err, flow.ErrBadHeader) || errors.Is(err, flow.ErrWrongLayout) || errors.Is(err, service.ErrBadSlots)
		if !foreign || warning != "" {
			return nil, "", explainState(path, err)
		}
		warning = fmt.Sprintf("flows.state: what is in %s cannot be adopted and was put aside as %[1]s.old; connections begin anew: %v", path, err)
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, "", fmt.Errorf("flows.state: %w", err)
		}
	}
}

func explainState(path string, err error) error {
	switch {
	case path == "":
		return fmt.Errorf("flows: %w: make flows.capacity smaller, or look for memory that is free", err)
	case errors.Is(err, flow.ErrStateInUse):
		return fmt.Errorf("flows.state: %s: %w: stop that one, or name another file here", path, err)
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("flows.state: %s: %w: make flows.capacity smaller, or room for it", path, err)
	}
	return fmt.Errorf("flows.state: %w", err)
}

// attach makes or opens what is in the memory.
func (s *state) attach(capacity uint32, workers int, seed [2]uint64) (err error) {
	flows, slots := s.memory.Region("flows"), s.memory.Region("servers")
	if !s.memory.Fresh() {
		s.flows, err = flow.Open(flows, workers)
		if err == nil {
			if s.slots, err = service.OpenSlots(slots); err != nil {
				return err
			}
			s.found = s.flows.Len()
			return nil
		}
		if !errors.Is(err, flow.ErrNoTable) { // the process ended before it had made one
			return err
		}
		clear(slots)
	}
	if s.slots, err = service.NewSlots(slots); err != nil {
		return err
	}
	s.flows, err = flow.New(flows, flow.Config{Capacity: capacity, Seed: seed, Workers: workers})
	return err
}
