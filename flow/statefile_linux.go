package flow

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory is a mapped state: a file's, or nameless memory. Its parts outlive the process if it has a file.
type Memory struct {
	mem     []byte
	file    *os.File // nil: anonymous memory
	hugetlb bool
	fresh   bool
	header  *stateHeader
}

const hugetlbMagic = 0x958458f6 // HUGETLBFS_MAGIC, linux/magic.h

// Map maps the state file at o.Path, making it if it is not there, and faults all of it in. It locks the file for as
// long as the Memory is open: a second director gets ErrStateInUse. If the file's regions differ from o.Regions it
// returns ErrStateLayout and leaves the file alone: remove it, or give it the old capacity. A file that is something
// else gives ErrNotState. Without a path the memory is a memfd, which can be handed to another process (File), or
// anonymous where a memfd cannot have huge pages.
func Map(o MapOptions) (_ *Memory, err error) {
	m := &Memory{}
	defer func() {
		if err != nil {
			_ = m.Close() // the error that is returned came first
		}
	}()
	want, err := plan(o.Regions, hugePage)
	if err != nil {
		return nil, err
	}
	if o.Path == "" {
		err = m.mapNameless(&want, o)
	} else {
		err = m.mapFile(&want, o)
	}
	if err != nil {
		return nil, err
	}
	if m.fresh {
		h := want
		h.Checksum = h.sum()
		*m.header = h
		m.header.Magic = stateMagic
	}
	if o.HugePages == HugeRequired && !m.hugetlb && m.hugeBytes() == 0 {
		return nil, fmt.Errorf("%w for %s: mount hugetlbfs, or tmpfs with huge=advise, and name a file there", ErrNoHugePages, m.name())
	}
	return m, nil
}

// Adopt maps the state behind a descriptor that another process handed over (Memory.File). It takes the file over.
func Adopt(f *os.File, o MapOptions) (_ *Memory, err error) {
	m := &Memory{file: f}
	defer func() {
		if err != nil {
			_ = m.Close() // the error that is returned came first
		}
	}()
	want, err := plan(o.Regions, hugePage)
	if err != nil {
		return nil, err
	}
	o.Path = f.Name()
	if err := m.mapOpen(&want, o); err != nil {
		return nil, err
	}
	if m.fresh {
		return nil, fmt.Errorf("%s: %w", o.Path, ErrNotState)
	}
	return m, nil
}

// Region is the part of that name, zeroed when the state is fresh; nil if there is none.
func (m *Memory) Region(name string) []byte {
	for i := range m.header.Count {
		if r := &m.header.Regions[i]; r.name() == name {
			return m.mem[r.Offset : r.Offset+r.Size : r.Offset+r.Size]
		}
	}
	return nil
}

// Fresh tells whether the state was made by this Map rather than found.
func (m *Memory) Fresh() bool { return m.fresh }

// File is what can be handed to another process; nil for anonymous memory.
func (m *Memory) File() *os.File { return m.file }

// Size is the size of the mapping in bytes.
func (m *Memory) Size() int64 { return int64(len(m.mem)) }

// Pages says what pages the memory has, for status: "2 MiB (hugetlb)", "2 MiB (transparent)", "2 MiB (transparent, 37 %)"
// or "4 KiB".
func (m *Memory) Pages() string {
	if m.hugetlb {
		return "2 MiB (hugetlb)"
	}
	switch n := m.hugeBytes(); {
	case n == 0:
		return "4 KiB"
	case n >= m.Size():
		return "2 MiB (transparent)"
	default:
		return fmt.Sprintf("2 MiB (transparent, %d %%)", n*100/m.Size())
	}
}

// Close unmaps and unlocks. What Region returned must not be touched any more.
func (m *Memory) Close() error {
	var errs []error
	if m.mem != nil {
		errs = append(errs, unmap(m.mem))
	}
	if m.file != nil {
		errs = append(errs, m.file.Close())
	}
	m.mem, m.file, m.header = nil, nil, nil
	return errors.Join(errs...)
}

func (m *Memory) name() string {
	if m.file == nil {
		return "anonymous memory"
	}
	return m.file.Name()
}

func (m *Memory) mapFile(want *stateHeader, o MapOptions) error {
	f, err := os.OpenFile(o.Path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("open state file: %w", err)
	}
	m.file = f
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%s: %w", o.Path, ErrStateInUse)
		}
		return fmt.Errorf("lock %s: %w", o.Path, err)
	}
	return m.mapOpen(want, o)
}

// mapOpen maps m.file, which is empty, half made, or a state file.
func (m *Memory) mapOpen(want *stateHeader, o MapOptions) error {
	fd := int(m.file.Fd())
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return fmt.Errorf("stat file system of %s: %w", o.Path, err)
	}
	m.hugetlb = int64(fs.Type) == hugetlbMagic
	if m.hugetlb && fs.Bsize != hugePage {
		return fmt.Errorf("%s: hugetlbfs with pages of %d bytes, mount it with pagesize=2M", o.Path, fs.Bsize)
	}
	st, err := m.file.Stat()
	if err != nil {
		return fmt.Errorf("stat %s: %w", o.Path, err)
	}
	size := st.Size()
	if size != 0 {
		if size, err = m.existing(size, want, o.Path); err != nil {
			return err
		}
	}
	if size == 0 {
		m.fresh = true
		if err := reserve(fd, int64(want.Size)); err != nil {
			return fmt.Errorf("make room for %d bytes in %s: %w", want.Size, o.Path, err)
		}
	}
	return m.mapAll(fd, int64(want.Size), unix.MAP_SHARED, o)
}

// existing looks at the header of a file that has size bytes. It returns 0 if the file was never finished and may be
// made anew.
func (m *Memory) existing(size int64, want *stateHeader, path string) (int64, error) {
	if size < hugePage {
		return 0, fmt.Errorf("%s: %w: it has %d bytes", path, ErrNotState, size)
	}
	peek, err := mapAligned(int(m.file.Fd()), hugePage, unix.MAP_SHARED) // hugetlbfs cannot be read(2) reliably, so map
	if err != nil {
		return 0, fmt.Errorf("map header of %s: %w", path, err)
	}
	h := *stateHeaderOf(peek)
	if err := unmap(peek); err != nil {
		return 0, fmt.Errorf("unmap header of %s: %w", path, err)
	}
	switch {
	case h.Magic == 0:
		if err := m.file.Truncate(0); err != nil {
			return 0, fmt.Errorf("empty unfinished %s: %w", path, err)
		}
		return 0, nil
	case h.Magic != stateMagic:
		return 0, fmt.Errorf("%s: %w", path, ErrNotState)
	case h.Checksum != h.sum() || h.Count > maxRegions || h.Size > uint64(size):
		return 0, fmt.Errorf("%s: %w: its header is damaged", path, ErrNotState)
	}
	if err := h.differs(want); err != nil {
		return 0, fmt.Errorf("%s: %w; remove it, or set the old sizes", path, err)
	}
	return size, nil
}

// reserve gives an empty file its size and its space, so that a full file system is an error now and not SIGBUS later.
func reserve(fd int, size int64) error {
	if err := unix.Ftruncate(fd, size); err != nil {
		return err
	}
	if err := unix.Fallocate(fd, 0, 0, size); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return errors.Join(err, unix.Ftruncate(fd, 0))
	}
	return nil
}

// mapNameless maps a memfd with pages from the huge page pool; else one with transparent huge pages; else anonymous
// memory.
func (m *Memory) mapNameless(want *stateHeader, o MapOptions) error {
	m.fresh = true
	size := int64(want.Size)
	if o.HugePages != HugeOff {
		if fd, err := unix.MemfdCreate("fastlb-state", unix.MFD_CLOEXEC|unix.MFD_HUGETLB|unix.MFD_HUGE_2MB); err == nil {
			m.file, m.hugetlb = os.NewFile(uintptr(fd), "memfd:fastlb-state"), true
			if reserve(fd, size) == nil && m.mapAll(fd, size, unix.MAP_SHARED, o) == nil {
				return nil
			}
			if err := m.Close(); err != nil {
				return err
			}
			m.hugetlb = false
		}
	}
	if o.HugePages == HugeOff || shmemHuge() {
		fd, err := unix.MemfdCreate("fastlb-state", unix.MFD_CLOEXEC)
		if err != nil {
			return fmt.Errorf("memfd_create: %w", err)
		}
		m.file = os.NewFile(uintptr(fd), "memfd:fastlb-state")
		if err := unix.Ftruncate(fd, size); err != nil {
			return fmt.Errorf("memfd of %d bytes: %w", size, err)
		}
		return m.mapAll(fd, size, unix.MAP_SHARED, o)
	}
	return m.mapAll(-1, size, unix.MAP_PRIVATE, o)
}

// shmemHuge tells whether memfds may have transparent huge pages where they are asked for.
func shmemHuge() bool {
	b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
	if err != nil {
		return false
	}
	for _, on := range []string{"[always]", "[within_size]", "[advise]", "[force]"} {
		if strings.Contains(string(b), on) {
			return true
		}
	}
	return false
}

// mapAll maps and faults in.
func (m *Memory) mapAll(fd int, size int64, flags int, o MapOptions) error {
	mem, err := mapAligned(fd, size, flags)
	if err != nil {
		return fmt.Errorf("map %d bytes of %s: %w", size, m.name(), err)
	}
	m.mem, m.header = mem, stateHeaderOf(mem)
	if o.HugePages != HugeOff && !m.hugetlb {
		if err := unix.Madvise(mem, unix.MADV_HUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("madvise huge pages: %w", err)
		}
	}
	if o.Policy != nil {
		if err := o.Policy(mem); err != nil {
			return err
		}
	}
	if err := unix.Madvise(mem, unix.MADV_POPULATE_WRITE); err != nil {
		if !errors.Is(err, unix.EINVAL) { // EINVAL: Linux before 5.14
			return fmt.Errorf("fault in %d bytes: %w", size, err)
		}
		for i := 0; i < len(mem); i += pageSize {
			touch(&mem[i], mem[i])
		}
	}
	return nil
}

// touch writes a byte; not inlined, so that writing a byte's own value is not optimised away.
//
//go:noinline
func touch(b *byte, v byte) { *b = v }

// hugeBytes counts the huge pages of the mapping by /proc/self/smaps.
func (m *Memory) hugeBytes() int64 {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0
	}
	defer f.Close()
	lo := uint64(address(m.mem))
	hi := lo + uint64(len(m.mem))
	inside, n := false, int64(0)
	for s := bufio.NewScanner(f); s.Scan(); {
		name, rest, _ := strings.Cut(s.Text(), " ")
		if !strings.HasSuffix(name, ":") {
			from, to, ok := strings.Cut(name, "-")
			a, errA := strconv.ParseUint(from, 16, 64)
			b, errB := strconv.ParseUint(to, 16, 64)
			inside = ok && errA == nil && errB == nil && a < hi && b > lo
			continue
		}
		switch name {
		case "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:":
			if kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); inside && err == nil {
				n += kb << 10
			}
		}
	}
	return n
}
