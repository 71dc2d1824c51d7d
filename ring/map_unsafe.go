//go:build linux

package ring

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mappedRing is one ring of a socket as the kernel shares it.
type mappedRing[T any] struct {
	memory                    []byte // the mapping, for munmap
	producer, consumer, flags *atomic.Uint32
	slots                     []T
}

// mapRing maps one ring of n slots. off is where the kernel put its parts; page is XDP_PGOFF_….
func mapRing[T any](fd int, n int, off unix.XDPRingOffset, page int64) (mappedRing[T], error) {
	var zero T
	size := off.Desc + uint64(n)*uint64(unsafe.Sizeof(zero))
	for _, o := range []uint64{off.Producer, off.Consumer, off.Flags} {
		if o%4 != 0 || o+4 > off.Desc {
			return mappedRing[T]{}, fmt.Errorf("map ring: index at %d does not lie before the slots at %d", o, off.Desc)
		}
	}
	if off.Desc%uint64(unsafe.Alignof(zero)) != 0 {
		return mappedRing[T]{}, fmt.Errorf("map ring: slots at %d are not aligned", off.Desc)
	}
	b, err := unix.Mmap(fd, page, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return mappedRing[T]{}, fmt.Errorf("map ring: %w", err)
	}
	word := func(o uint64) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&b[o])) }
	return mappedRing[T]{
		memory:   b,
		producer: word(off.Producer), consumer: word(off.Consumer), flags: word(off.Flags),
		slots: unsafe.Slice((*T)(unsafe.Pointer(&b[off.Desc])), n),
	}, nil
}

func (r *mappedRing[T]) unmap() error {
	if r.memory == nil {
		return nil
	}
	b := r.memory
	*r = mappedRing[T]{}
	return unix.Munmap(b)
}

// registerUMEM gives mem to the kernel as the socket's packet memory (XDP_UMEM_REG).
func registerUMEM(fd int, mem []byte) error {
	reg := struct { // struct xdp_umem_reg without its last field, which kernels before 6.8 do not know
		addr, length               uint64
		chunkSize, headroom, flags uint32
		_                          uint32
	}{addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))), length: uint64(len(mem)), chunkSize: FrameSize}
	return setsockopt(fd, unix.XDP_UMEM_REG, unsafe.Pointer(&reg), unsafe.Sizeof(reg))
}

// mmapOffsets asks where the parts of the rings lie (XDP_MMAP_OFFSETS).
func mmapOffsets(fd int) (o unix.XDPMmapOffsets, err error) {
	return o, getsockopt(fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&o), unsafe.Sizeof(o))
}

// statistics reads XDP_STATISTICS.
func statistics(fd int) (o unix.XDPStatistics, err error) {
	return o, getsockopt(fd, unix.XDP_STATISTICS, unsafe.Pointer(&o), unsafe.Sizeof(o))
}

func setsockopt(fd, name int, value unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(name), uintptr(value), size, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func getsockopt(fd, name int, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(name), uintptr(value),
		uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	if length != uint32(size) {
		return fmt.Errorf("getsockopt %d: %d bytes instead of %d: kernel too old", name, length, size)
	}
	return nil
}
