//go:build linux

package tune

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolTable carries an indirection table to or from a driver: struct ethtool_rxfh_indir is the command, the number of
// entries, and the entries. The table may be of any size; words has two more than entries.
func ethtoolTable(fd int, name string, words []uint32) error {
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // struct ifreq is as long as its longest member
	}{data: unsafe.Pointer(unsafe.SliceData(words))}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return errno
	}
	return nil
}
