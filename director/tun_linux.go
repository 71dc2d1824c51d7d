package director

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/worker"
)

// tunName is the device through which packets that turned out to be the kernel's go back to its stack (contract §5).
const tunName = "fastlb0"

// tunMTU is the longest packet that IP knows; what was reassembled goes through in one piece.
const tunMTU = 65535

// tun hands packets to the kernel's stack: workers queue them, one goroutine writes them to a tun device, in order. The
// device exists as long as the tun is open.
type tun struct {
	name   string
	file   *os.File
	queues []*passQueue // by worker
	wake   chan struct{}
	done   chan struct{}
	wait   sync.WaitGroup

	packets, bytes, errors perf.Counter // by the writer
}

var _ worker.Passer = (*passQueue)(nil)

// openTun makes the device and starts the writer. Packets enter the stack there with the addresses that they came with,
// so neither reverse path filter nor forwarding may differ from what they would have met on the real interface.
func openTun(workers int, forwarding4, forwarding6 bool) (_ *tun, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("tun device %s, the way back to the kernel's stack: %w", tunName, err)
		}
	}()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			return nil, fmt.Errorf("/dev/net/tun: %w: load it with `modprobe tun`", err)
		}
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	req, err := unix.NewIfreq(tunName)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		switch {
		case errors.Is(err, unix.EBUSY):
			return nil, fmt.Errorf("%w: a director runs in this network namespace already", err)
		case errors.Is(err, unix.EPERM):
			return nil, fmt.Errorf("%w: it needs CAP_NET_ADMIN (run as root)", err)
		}
		return nil, err
	}
	link, err := netlink.LinkByName(tunName)
	if err != nil {
		return nil, err
	}
	for _, s := range tunSettings(forwarding4, forwarding6) {
		if err := s.write(); err != nil && !(s.optional && errors.Is(err, os.ErrNotExist)) {
			return nil, err
		}
	}
	if filter := reverseFilter(); filter != "0" {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.IP(tunAddr.AsSlice()), Mask: net.CIDRMask(32, 32)}, Scope: unix.RT_SCOPE_HOST}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return nil, fmt.Errorf("add address %v: %w", tunAddr, err)
		}
	}
	if err := netlink.LinkSetMTU(link, tunMTU); err != nil {
		return nil, fmt.Errorf("set MTU: %w", err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set up: %w", err)
	}
	t := &tun{name: tunName, file: os.NewFile(uintptr(fd), tunName), wake: make(chan struct{}, 1), done: make(chan struct{})}
	for range workers {
		t.queues = append(t.queues, newPassQueue(passQueueSize, t.notify))
	}
	t.wait.Add(1)
	go t.write()
	return t, nil
}

// tunAddr is IPv4's dummy address (RFC 7600). Even the loose reverse path filter drops everything on a device without an
// address (fib_validate_source), so where the filter is on, the device needs one; it is never a source or destination.
var tunAddr = netip.AddrFrom4([4]byte{192, 0, 0, 8})

// reverseFilter is the device's rp_filter. The filter in force is the greater of the device's and that of "all": where the
// latter is strict, loose is the least that can be had.
func reverseFilter() string {
	if v, err := readSysctl("net/ipv4/conf/all/rp_filter"); err == nil && v != "0" {
		return "2"
	}
	return "0"
}

// tunSettings are the sysctls of the device.
func tunSettings(forwarding4, forwarding6 bool) []sysctl {
	list := []sysctl{
		{name: "net/ipv4/conf/" + tunName + "/rp_filter", value: reverseFilter()},
		{name: "net/ipv6/conf/" + tunName + "/addr_gen_mode", value: "1", optional: true},
		{name: "net/ipv6/conf/" + tunName + "/accept_ra", value: "0", optional: true},
		{name: "net/ipv6/conf/" + tunName + "/disable_ipv6", value: "0", optional: true},
	}
	if forwarding4 {
		list = append(list, sysctl{name: "net/ipv4/conf/" + tunName + "/forwarding", value: "1"})
	}
	if forwarding6 {
		list = append(list, sysctl{name: "net/ipv6/conf/" + tunName + "/forwarding", value: "1", optional: true})
	}
	return list
}

func (t *tun) notify() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// write is the writer: it takes one packet of each queue in turn.
func (t *tun) write() {
	defer t.wait.Done()
	for {
		some := false
		for _, q := range t.queues {
			p := q.next()
			if p == nil {
				continue
			}
			some = true
			if _, err := t.file.Write(p); err != nil {
				t.errors.Add(1) // no IP packet, or the device is down: somebody's doing, and counted
			} else {
				t.packets.Add(1)
				t.bytes.Add(uint64(len(p)))
			}
			q.done(p)
		}
		if some {
			continue
		}
		select {
		case <-t.wake:
		case <-t.done:
			return
		}
	}
}

// status is what went through.
func (t *tun) status() PassStatus {
	s := PassStatus{Device: t.name, Packets: t.packets.Load(), Bytes: t.bytes.Load(), Errors: t.errors.Load()}
	for _, q := range t.queues {
		s.Dropped += q.dropped.Load()
	}
	return s
}

// close writes what is queued, then the device goes.
func (t *tun) close() error {
	close(t.done)
	t.wait.Wait()
	return t.file.Close()
}
