package xdp

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// setXDP sets (fd ≥ 0) or removes (fd -1) the program of an interface: RTM_SETLINK with IFLA_XDP. With XDP_FLAGS_REPLACE
// in flags the kernel does so only if the present program is the one of fd expected. A refusal has the driver's words, where
// it said any.
func setXDP(index, fd, expected int, flags uint32) error {
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer socket.Close()
	if err := socket.SetExtAck(true); err != nil {
		return fmt.Errorf("ask for netlink's messages: %w", err)
	}
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	xdp := nl.NewRtAttr(unix.IFLA_XDP|unix.NLA_F_NESTED, nil)
	xdp.AddRtAttr(nl.IFLA_XDP_FD, nl.Uint32Attr(uint32(int32(fd))))
	xdp.AddRtAttr(nl.IFLA_XDP_FLAGS, nl.Uint32Attr(flags))
	if flags&unix.XDP_FLAGS_REPLACE != 0 {
		xdp.AddRtAttr(unix.IFLA_XDP_EXPECTED_FD, nl.Uint32Attr(uint32(int32(expected))))
	}
	req.AddData(xdp)
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// lockInterface holds an interface for this process: a listening abstract unix socket, which belongs to the network
// namespace as interface numbers do, and ends with the process however it dies. ErrInUse names the holder. A socket of
// that name that belongs to another user is not a director's and holds nobody off.
func lockInterface(index int) (fd int, err error) {
	name := &unix.SockaddrUnix{Name: fmt.Sprintf("@fastlb/xdp/%d", index)}
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("lock interface: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
			fd = -1
		}
	}()
	err = unix.Bind(fd, name)
	if err == nil {
		err = unix.Listen(fd, 8)
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		return fd, err
	}
	if err := unix.Connect(fd, name); err != nil {
		if errors.Is(err, unix.ECONNREFUSED) { // it is just about to listen, or to end
			return fd, fmt.Errorf("%w: it is starting or stopping", ErrInUse)
		}
		if !errors.Is(err, unix.EAGAIN) {
			return fd, fmt.Errorf("lock interface: %w", err)
		}
		return fd, ErrInUse
	}
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fd, fmt.Errorf("lock interface: %w", err)
	}
	if peer.Uid == 0 || int(peer.Uid) == unix.Geteuid() {
		return fd, fmt.Errorf("%w: process %d", ErrInUse, peer.Pid)
	}
	return fd, nil
}
