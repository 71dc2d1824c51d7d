// Package vm boots machines under QEMU for tests that need another kernel than this one's, or other NICs: Debian's newest
// kernel and an initial file system whose process 1 is a program of ours (package vm/guest is what such programs share).
// The script image downloads kernel and modules; nothing is installed.
//
// Host and guest speak over a virtio console port, which is a byte stream: whatever the two programs agree on, or the
// requests of this package (Client here, guest.Serve there).
package vm
