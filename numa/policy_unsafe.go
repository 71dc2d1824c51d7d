//go:build linux

package numa

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// nodeMask is a set of nodes as mbind and set_mempolicy take it.
type nodeMask [16]uint64

// mbind sets the policy of b's pages; b is page aligned. A nil mask is the empty one.
func mbind(b []byte, mode int, mask *nodeMask) error {
	_, _, errno := unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		uintptr(mode), uintptr(unsafe.Pointer(mask)), maskBits(mask), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// setMempolicy sets the calling thread's policy for pages it touches first.
func setMempolicy(mode int, mask *nodeMask) error {
	_, _, errno := unix.Syscall(unix.SYS_SET_MEMPOLICY, uintptr(mode), uintptr(unsafe.Pointer(mask)), maskBits(mask))
	if errno != 0 {
		return errno
	}
	return nil
}

// maskBits is the maxnode argument: one more than the bits, as the kernel subtracts one.
func maskBits(mask *nodeMask) uintptr {
	if mask == nil {
		return 0
	}
	return unsafe.Sizeof(*mask)*8 + 1
}

// alignUp returns the part of b that begins at the next multiple of align, a power of two.
func alignUp(b []byte, align uintptr) []byte {
	off := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (align - 1)
	return b[off:]
}

// address of the first byte, for finding the mapping in /proc/self/smaps.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
