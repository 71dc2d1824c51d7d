//go:build !linux

package numa

import (
	"errors"
	"fmt"
	"runtime"
)

// Memory is on the Go heap: this system's huge pages and nodes are not known here.
type Memory struct {
	Bytes []byte
	Pages Pages
}

// Alloc allocates on the heap; HugeRequired fails.
func Alloc(size int, huge HugePages, node int) (*Memory, error) {
	if huge == HugeRequired {
		return nil, fmt.Errorf("allocate %d MiB on %s: %w", size>>20, runtime.GOOS, ErrNoHugePages)
	}
	return &Memory{Bytes: make([]byte, size)}, nil
}

// Free drops the memory.
func (m *Memory) Free() error { m.Bytes = nil; return nil }

// Pin fails: threads cannot be pinned here.
func Pin(cpu int) error { return PinTo(CPUs{cpu}) }

// PinTo fails: threads cannot be pinned here.
func PinTo(cpus CPUs) error {
	return fmt.Errorf("pin thread to CPU %s on %s: %w", cpus, runtime.GOOS, errors.ErrUnsupported)
}

// Allowed is every CPU.
func Allowed() (CPUs, error) {
	out := make(CPUs, runtime.NumCPU())
	for i := range out {
		out[i] = i
	}
	return out, nil
}

// Reachable is every CPU.
func Reachable(CPUs) (CPUs, error) { return Allowed() }

// Spread does nothing: there is no policy to set.
func Spread([]int) error { return nil }

// Prefer does nothing: there is no policy to set.
func Prefer(node int) error { return nil }
