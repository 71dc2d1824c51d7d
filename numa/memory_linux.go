package numa

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory policies of linux/mempolicy.h.
const (
	mpolDefault    = 0
	mpolPreferred  = 1
	mpolInterleave = 3
)

// Memory is an anonymous allocation outside the Go heap: zeroed, page aligned, faulted in. Free ends it.
type Memory struct {
	Bytes   []byte
	Pages   Pages
	mapping []byte
}

// Alloc allocates size bytes in pages of the wanted kind on a node (-1: wherever the thread runs). With huge pages the
// size is rounded up to whole ones. All pages are touched, so that no packet pays for it.
func Alloc(size int, huge HugePages, node int) (*Memory, error) {
	if size <= 0 {
		return nil, fmt.Errorf("allocate %d bytes: size must be positive", size)
	}
	if huge != HugeOff {
		rounded := (size + HugePageSize - 1) &^ (HugePageSize - 1)
		lack := lackOf(os.DirFS("/sys"), rounded/HugePageSize, node)
		if lack == "" { // else the kernel would take another node's
			if m, err := allocReserved(rounded, node); err == nil {
				return m, nil
			}
		}
		m, err := allocTransparent(rounded, node)
		if err != nil {
			return nil, err
		}
		if m.Pages == TransparentPages || huge == HugeAuto {
			return m, nil
		}
		err = fmt.Errorf("allocate %d MiB: %w", rounded>>20, ErrNoHugePages)
		if lack != "" {
			err = fmt.Errorf("%w: %s", err, lack)
		}
		return nil, errors.Join(err, m.Free())
	}
	b, err := mmap(size, 0)
	if err != nil {
		return nil, err
	}
	m := &Memory{Bytes: b[:size], mapping: b}
	return m, m.settle(node)
}

// allocReserved takes pages of the hugetlb pool. The kernel reserves them at mmap, so a success cannot fault later,
// except where a cgroup or a cpuset forbids it.
func allocReserved(size, node int) (*Memory, error) {
	b, err := mmap(size, unix.MAP_HUGETLB|21<<unix.MAP_HUGE_SHIFT)
	if err != nil {
		return nil, err
	}
	m := &Memory{Bytes: b, Pages: ReservedPages, mapping: b}
	if err := bindMemory(b, node); err != nil {
		return nil, errors.Join(err, m.Free())
	}
	if err := unix.Madvise(b, unix.MADV_POPULATE_WRITE); err != nil { // never touch by hand: a missing page is SIGBUS
		return nil, errors.Join(fmt.Errorf("populate huge pages: %w", err), m.Free())
	}
	return m, nil
}

func allocTransparent(size, node int) (*Memory, error) {
	b, err := mmap(size+HugePageSize, 0)
	if err != nil {
		return nil, err
	}
	m := &Memory{Bytes: alignUp(b, HugePageSize)[:size:size], mapping: b}
	advised := unix.Madvise(m.Bytes, unix.MADV_HUGEPAGE) == nil
	if err := m.settle(node); err != nil {
		return nil, err
	}
	if advised && transparentHuge(m.Bytes) {
		m.Pages = TransparentPages
	}
	return m, nil
}

func mmap(size, flags int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|flags)
	if err != nil {
		return nil, fmt.Errorf("map %d MiB of memory: %w", size>>20, err)
	}
	return b, nil
}

// settle binds and faults in; on failure the memory is freed.
func (m *Memory) settle(node int) error {
	if err := bindMemory(m.Bytes, node); err != nil {
		return errors.Join(err, m.Free())
	}
	// A failed MADV_POPULATE_WRITE (kernels before 5.14) is made up for by touching.
	if unix.Madvise(m.Bytes, unix.MADV_POPULATE_WRITE) != nil {
		for i := 0; i < len(m.Bytes); i += os.Getpagesize() {
			m.Bytes[i] = 0
		}
	}
	return nil
}

// Free unmaps the memory; nobody may touch Bytes afterwards.
func (m *Memory) Free() error {
	if m.mapping == nil {
		return nil
	}
	b := m.mapping
	m.Bytes, m.mapping = nil, nil
	if err := unix.Munmap(b); err != nil {
		return fmt.Errorf("unmap memory: %w", err)
	}
	return nil
}

// bindMemory prefers a node for b's pages. Nothing happens for node -1, nor on kernels without NUMA.
func bindMemory(b []byte, node int) error {
	if node < 0 {
		return nil
	}
	mask, err := maskOf(node)
	if err != nil {
		return err
	}
	if err := mbind(b, mpolPreferred, mask); err != nil && !harmless(err) {
		return fmt.Errorf("bind memory to node %d: %w", node, err)
	}
	return nil
}

// Spread makes the calling thread's new pages come from nodes in turn; from the one, if there is only one; without any
// it restores the default. It is for memory that workers on several nodes use alike. A policy of the memory itself would
// come too late for a file, whose pages are made when it gets its size. The caller has locked the goroutine to its thread.
func Spread(nodes []int) error {
	if len(nodes) == 0 {
		return Prefer(-1)
	}
	if len(nodes) == 1 {
		return Prefer(nodes[0])
	}
	var all nodeMask
	for _, n := range nodes {
		mask, err := maskOf(n)
		if err != nil {
			return err
		}
		for i := range mask {
			all[i] |= mask[i]
		}
	}
	if err := setMempolicy(mpolInterleave, &all); err != nil && !harmless(err) {
		return fmt.Errorf("spread memory over nodes %v: %w", nodes, err)
	}
	return nil
}

// Prefer makes the calling thread's new pages come from a node; -1 restores the default. The caller has locked the
// goroutine to its thread.
func Prefer(node int) error {
	if node < 0 {
		if err := setMempolicy(mpolDefault, nil); err != nil && !harmless(err) {
			return fmt.Errorf("reset memory policy: %w", err)
		}
		return nil
	}
	mask, err := maskOf(node)
	if err != nil {
		return err
	}
	if err := setMempolicy(mpolPreferred, mask); err != nil && !harmless(err) {
		return fmt.Errorf("prefer memory of node %d: %w", node, err)
	}
	return nil
}

// harmless errors mean that there is nothing to choose from: no NUMA in the kernel, or a sandbox that forbids choosing.
func harmless(err error) bool { return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) }

func maskOf(node int) (*nodeMask, error) {
	var m nodeMask
	if node < 0 || node >= len(m)*64 {
		return nil, fmt.Errorf("NUMA node %d: no such node", node)
	}
	m[node/64] = 1 << (node % 64)
	return &m, nil
}

// transparentHuge tells whether at least one huge page lies under b, by /proc/self/smaps.
func transparentHuge(b []byte) bool {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return false
	}
	defer f.Close()
	inside := false
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var lo, hi uintptr
		var kb int
		line := sc.Text()
		if n, _ := fmt.Sscanf(line, "%x-%x", &lo, &hi); n == 2 {
			inside = lo < address(b)+uintptr(len(b)) && address(b) < hi
		} else if rest, ok := strings.CutPrefix(line, "AnonHugePages:"); ok && inside {
			if n, _ := fmt.Sscanf(rest, "%d", &kb); n == 1 && kb > 0 {
				return true
			}
		}
	}
	return false
}
