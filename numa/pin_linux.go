package numa

import (
	"fmt"
	"runtime"

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

// Reachable is the set of CPUs, out of those given, that a thread of this process may be pinned to: those of its cgroup's
// cpuset, isolated ones included, whatever its present affinity is.
func Reachable(online CPUs) (CPUs, error) {
	type answer struct {
		cpus CPUs
		err  error
	}
	got := make(chan answer)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its affinity
		err := PinTo(online)   // the kernel takes what it allows of it
		var a answer
		if a.err = err; err == nil {
			a.cpus, a.err = Allowed()
		}
		got <- a
	}()
	a := <-got
	return a.cpus, a.err
}
