package numa

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Pin ties the calling thread to one CPU. The caller has called runtime.LockOSThread and keeps it locked.
func Pin(cpu int) error { return PinTo(CPUs{cpu}) }

// PinTo ties the calling thread to a set of CPUs.
func PinTo(cpus CPUs) error {
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin thread to CPU %s: %w: is it online, and in this process's cpuset?", cpus, err)
	}
	return nil
}

// Allowed is the set of CPUs that the calling thread may run on (taskset, cgroup cpuset).
func Allowed() (CPUs, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read CPU affinity: %w", err)
	}
	var out CPUs
	for c := range len(set) * 64 {
		if set.IsSet(c) {
			out = append(out, c)
		}
	}
	return out, nil
}
