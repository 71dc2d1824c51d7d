//go:build linux

package flow

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapAligned maps size bytes, a multiple of the huge page, at an address that is one too, so that transparent huge pages
// fit from the first byte: it reserves a page more, maps into the middle and gives the edges back. fd -1 is anonymous
// memory.
func mapAligned(fd int, size int64, flags int) ([]byte, error) {
	if fd < 0 {
		flags |= unix.MAP_ANONYMOUS
	}
	n := uintptr(size)
	room, err := unix.MmapPtr(-1, 0, nil, n+hugePage, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of address space: %w", n+hugePage, err)
	}
	skip := -uintptr(room) & (hugePage - 1)
	at := unsafe.Add(room, skip)
	if _, err := unix.MmapPtr(fd, 0, at, n, unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_FIXED); err != nil {
		_ = unix.MunmapPtr(room, n+hugePage) // the reservation; the error above is the one that matters
		return nil, err
	}
	if skip > 0 {
		if err := unix.MunmapPtr(room, skip); err != nil {
			return nil, fmt.Errorf("give back address space: %w", err)
		}
	}
	if rest := hugePage - skip; rest > 0 {
		if err := unix.MunmapPtr(unsafe.Add(at, n), rest); err != nil {
			return nil, fmt.Errorf("give back address space: %w", err)
		}
	}
	return unsafe.Slice((*byte)(at), n), nil
}

func unmap(mem []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)))
}

// address is where a mapping begins, to be found in /proc/self/smaps.
func address(mem []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(mem))) }
