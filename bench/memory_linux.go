package bench

import (
	"bufio"
	"errors"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// resident is the memory in bytes that the process has in use, the Go heap's free part given back. It is exact, as
// VmRSS of /proc/self/status is not, and counts pages of the hugetlb pool too.
func resident() (int64, error) {
	debug.FreeOSMemory()
	return sumOf("/proc/self/smaps_rollup", "Rss", "Private_Hugetlb", "Shared_Hugetlb")
}

// hugeShare is the part of the process's anonymous memory that lies in huge pages, 0 to 1: where memory is fragmented the
// kernel mixes them with small ones.
func hugeShare() float64 {
	all, err := sumOf("/proc/self/smaps_rollup", "Anonymous", "Private_Hugetlb")
	huge, err2 := sumOf("/proc/self/smaps_rollup", "AnonHugePages", "Private_Hugetlb")
	if err != nil || err2 != nil || all == 0 {
		return 0
	}
	return float64(huge) / float64(all)
}

// available is the memory in bytes that can be had without swapping; the hugetlb pool's free pages come on top.
func available() (int64, error) {
	n, err := sumOf("/proc/meminfo", "MemAvailable")
	if err != nil {
		return 0, err
	}
	if free, err := os.ReadFile("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"); err == nil {
		if pages, err := strconv.ParseInt(strings.TrimSpace(string(free)), 10, 64); err == nil {
			n += pages << 21
		}
	}
	return n, nil
}

// sumOf adds up fields of a file of lines such as "Rss:  123 kB".
func sumOf(file string, names ...string) (n int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s := bufio.NewScanner(f)
	for s.Scan() {
		name, rest, _ := strings.Cut(s.Text(), ":")
		for _, want := range names {
			if kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); name == want && err == nil {
				n += kb << 10
			}
		}
	}
	return n, s.Err()
}
