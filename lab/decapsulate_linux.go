package lab

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tunnelDevice is where unwrapped packets enter a server's stack.
const tunnelDevice = "tunnel0"

// rawBuffer is what a raw socket may hold while the process waits for a CPU: some thousand full packets.
const rawBuffer = 16 << 20

// Decapsulate ends IP-in-IP tunnels of all four family combinations in the calling thread's network namespace, until ctx
// ends: packets of IP protocol 4 and 41 are taken from raw sockets, and what is inside them is given to the stack by a
// tun device. It does what a kernel's ipip, sit and ip6tnl devices do in mode any, on kernels that have none of them.
// Fragments are no concern: the kernel reassembles outer packets before a raw socket sees them.
//
// Call it on a thread that stays in the namespace (the main program of a process in it).
func Decapsulate(ctx context.Context) error {
	tun, err := openTun(tunnelDevice)
	if err != nil {
		return err
	}
	defer tun.Close()
	sources := []struct {
		family, protocol int
		outer            bool // whether packets come with the outer header: IPv4's do, IPv6's do not (RFC 3542)
	}{
		{unix.AF_INET, unix.IPPROTO_IPIP, true},
		{unix.AF_INET, unix.IPPROTO_IPV6, true},
		{unix.AF_INET6, unix.IPPROTO_IPIP, false},
		{unix.AF_INET6, unix.IPPROTO_IPV6, false},
	}
	failed := make(chan error, len(sources))
	for _, s := range sources {
		fd, err := unix.Socket(s.family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, s.protocol)
		if err != nil {
			return fmt.Errorf("raw socket for IP protocol %d: %w", s.protocol, err)
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rawBuffer); err != nil {
			return fmt.Errorf("receive buffer of a raw socket: %w", err)
		}
		go func() { failed <- unwrap(fd, s.outer, tun) }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// unwrap moves packets from a raw socket to the tun device.
func unwrap(fd int, outer bool, tun *os.File) error {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive from a raw socket: %w", err)
		}
		inner := Inner(buf[:n], outer)
		if inner == nil {
			continue
		}
		// EINVAL is the stack's word for a malformed packet, ENOBUFS for a lost one: both are drops on the wire's terms.
		if _, err := tun.Write(inner); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("write to %s: %w", tunnelDevice, err)
		}
	}
}

// openTun makes a tun device that is up, for IP packets without further header.
func openTun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set %s up: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
