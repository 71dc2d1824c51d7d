package numa

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// HugePages says whether memory is to lie in huge pages.
type HugePages uint8

const (
	HugeAuto     HugePages = iota // hugetlbfs pages if reserved, else transparent huge pages, else small ones
	HugeOff                       // small pages
	HugeRequired                  // an error if huge pages cannot be had
)

// ParseHugePages reads the configuration's word.
func ParseHugePages(s string) (HugePages, error) {
	switch s {
	case "auto", "":
		return HugeAuto, nil
	case "off":
		return HugeOff, nil
	case "required":
		return HugeRequired, nil
	}
	return 0, fmt.Errorf("huge pages %q: choose auto, off or required", s)
}

// Pages says what kind of pages an allocation got.
type Pages uint8

const (
	SmallPages       Pages = iota
	TransparentPages       // MADV_HUGEPAGE was accepted and at least one huge page is there
	ReservedPages          // from the hugetlb pool
)

func (p Pages) String() string {
	return [...]string{"small", "transparent huge", "reserved huge"}[p]
}

// HugePageSize is the size that allocations are rounded up to when huge pages are wanted.
const HugePageSize = 2 << 20

// ErrNoHugePages is returned for HugeRequired when there are none.
var ErrNoHugePages = errors.New("no huge pages: reserve some (`sysctl vm.nr_hugepages=N`, 2 MiB each) or allow transparent ones (/sys/kernel/mm/transparent_hugepage/enabled)")

// lackOf says in words that a node has too few free pages in the pool for an allocation of so many, and what to type; ""
// if it has them, or does not tell. sys is laid out as /sys.
func lackOf(sys fs.FS, pages, node int) string {
	if node < 0 {
		return ""
	}
	dir := fmt.Sprintf("devices/system/node/node%d/hugepages/hugepages-%dkB/", node, HugePageSize>>10)
	number := func(name string) int {
		b, err := fs.ReadFile(sys, dir+name)
		if err != nil {
			return -1
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			return -1
		}
		return n
	}
	free, all := number("free_hugepages"), number("nr_hugepages")
	if free < 0 || all < 0 || free >= pages {
		return ""
	}
	return fmt.Sprintf("node %d has %d free, %d are needed: `echo %d > /sys/%snr_hugepages`", node, free, pages, all+pages-free, dir)
}
