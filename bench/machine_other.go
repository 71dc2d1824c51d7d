//go:build !linux

package bench

import "runtime"

func thisMachine() Machine {
	return Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH, Kernel: runtime.GOOS}
}
