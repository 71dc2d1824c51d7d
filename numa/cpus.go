package numa

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// CPUs is a set of CPU numbers, ascending, without duplicates.
type CPUs []int

// MaxCPU is the highest CPU number that ParseCPUs accepts.
const MaxCPU = 8191

// ParseCPUs reads a list as the kernel and taskset write it: "2-5,8". The empty string is the empty set.
func ParseCPUs(s string) (CPUs, error) {
	var out CPUs
	s = strings.TrimSpace(s)
	if s == "" {
		return out, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		lo, err := parseCPU(from)
		if err != nil {
			return nil, fmt.Errorf("CPU list %q: %w", s, err)
		}
		hi := lo
		if isRange {
			if hi, err = parseCPU(to); err != nil {
				return nil, fmt.Errorf("CPU list %q: %w", s, err)
			}
		}
		if hi < lo {
			return nil, fmt.Errorf("CPU list %q: range %s is upside down", s, part)
		}
		for c := lo; c <= hi; c++ {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func parseCPU(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > MaxCPU {
		return 0, fmt.Errorf("%q is not a CPU number: write a list such as 2-5,8", s)
	}
	return int(n), nil
}

// String writes the set as ParseCPUs reads it.
func (c CPUs) String() string {
	var b strings.Builder
	for i := 0; i < len(c); {
		j := i
		for j+1 < len(c) && c[j+1] == c[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(c[i]))
		if j > i {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(c[j]))
		}
		i = j + 1
	}
	return b.String()
}

// Contains tells whether cpu is in the set.
func (c CPUs) Contains(cpu int) bool {
	_, found := slices.BinarySearch(c, cpu)
	return found
}
