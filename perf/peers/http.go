package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What is asked for and answered, over one connection a request or many.
const (
	bodyBytes    = 128
	requestOnce  = "GET / HTTP/1.1\r\nHost: fastlb\r\nConnection: close\r\n\r\n"
	requestAgain = "GET / HTTP/1.1\r\nHost: fastlb\r\n\r\n"
)

func response(close bool) []byte {
	header := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " + strconv.Itoa(bodyBytes) + "\r\n"
	if close {
		header += "Connection: close\r\n"
	}
	return []byte(header + "\r\n" + strings.Repeat("x", bodyBytes))
}

// helperServe is the command of the real servers: ADDRESS:PORT... Both it and the load are single threads with an epoll,
// so that as much of the machine as possible is left to what is compared.
const helperServe = "serve"

func serve(ctx context.Context, args []string) error {
	runtime.LockOSThread()
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	listeners := map[int32]bool{}
	for _, a := range args {
		at, err := netip.ParseAddrPort(a)
		if err != nil {
			return err
		}
		fd, err := listen(at)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", at, err)
		}
		if err := watch(poll, fd, unix.EPOLLIN); err != nil {
			return err
		}
		listeners[int32(fd)] = true
	}
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 4096)
	once, again := response(true), response(false)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			if !listeners[e.Fd] {
				answer(int(e.Fd), buf, once, again)
				continue
			}
			for range 64 {
				fd, _, err := unix.Accept4(int(e.Fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
				if err != nil {
					break
				}
				if answer(fd, buf, once, again) {
					if err := watch(poll, fd, unix.EPOLLIN); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// listen makes a listener that reports connections once they have asked something.
func listen(at netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}),
		unix.Listen(fd, 4096),
	)
}

func watch(poll, fd int, events uint32) error {
	return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// answer answers what a connection has asked, and says whether it stays open.
func answer(fd int, buf, once, again []byte) (open bool) {
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EAGAIN) {
		return true
	}
	if err == nil && n > 0 {
		if bytes.Contains(buf[:n], []byte("close")) {
			_, _ = unix.Write(fd, once) // who is gone is not answered
		} else if _, err = unix.Write(fd, again); err == nil {
			return true
		}
	}
	_ = unix.Close(fd)
	return false
}

// helperLoad is the command of the clients.
const helperLoad = "load"

// loadResult is what helperLoad prints.
type loadResult struct {
	Connections uint64        `json:"connections"`
	Requests    uint64        `json:"requests"`
	Failures    uint64        `json:"failures"`
	Elapsed     time.Duration `json:"elapsed"`
	Last        string        `json:"last"` // failure
}

// load keeps a number of connections busy for a while: -target ADDRESS:PORT -parallel N -duration D [-keep].
func load(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(helperLoad, flag.ContinueOnError)
	target := flags.String("target", "", "")
	parallel := flags.Int("parallel", 64, "")
	duration := flags.Duration("duration", time.Second, "")
	keep := flags.Bool("keep", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	to, err := netip.ParseAddrPort(*target)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	c := clientLoop{to: &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, slots: map[int32]*slot{}, buf: make([]byte, 4096)}
	c.request, c.want = []byte(requestOnce), len(response(true))
	if c.keep = *keep; c.keep {
		c.request, c.want = []byte(requestAgain), len(response(false))
	}
	if c.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	start := time.Now()
	for range *parallel {
		if err := c.open(); err != nil {
			return err
		}
	}
	if err := c.run(ctx, start.Add(*duration)); err != nil {
		return err
	}
	c.Elapsed = time.Since(start)
	return json.NewEncoder(os.Stdout).Encode(c.loadResult)
}

// slot is a connection.
type slot struct {
	asked bool // the request is out
	got   int  // bytes of the answer
}

// clientLoop is the clients' state.
type clientLoop struct {
	loadResult
	to      *unix.SockaddrInet4
	poll    int
	slots   map[int32]*slot // by file descriptor
	buf     []byte
	request []byte
	want    int // bytes of an answer
	keep    bool
}

// open begins a connection.
func (c *clientLoop) open() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, c.to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return errors.Join(fmt.Errorf("connect: %w", err), unix.Close(fd))
	}
	c.slots[int32(fd)] = &slot{}
	return watch(c.poll, fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET&0xffffffff)
}

func (c *clientLoop) run(ctx context.Context, deadline time.Time) error {
	events := make([]unix.EpollEvent, 256)
	for ctx.Err() == nil && time.Now().Before(deadline) {
		n, err := unix.EpollWait(c.poll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			s := c.slots[e.Fd]
			done, err := c.step(int(e.Fd), s, e.Events)
			if !done && err == nil {
				continue
			}
			if err != nil {
				c.Failures++
				c.Last = err.Error()
			} else {
				c.Connections++
			}
			delete(c.slots, e.Fd)
			_ = unix.Close(int(e.Fd))
			if err := c.open(); err != nil {
				return err
			}
		}
	}
	return nil
}

// step does what a connection is ready for; done says that it has ended as it should.
func (c *clientLoop) step(fd int, s *slot, events uint32) (done bool, err error) {
	if !s.asked && events&(unix.EPOLLOUT|unix.EPOLLERR) != 0 {
		if _, err := unix.Write(fd, c.request); err != nil {
			return false, fmt.Errorf("write: %w", err)
		}
		s.asked = true
	}
	for {
		n, err := unix.Read(fd, c.buf)
		if errors.Is(err, unix.EAGAIN) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			if s.got != 0 || c.keep {
				return false, fmt.Errorf("the answer ended after %d bytes", s.got)
			}
			return true, nil
		}
		if s.got == 0 && !bytes.HasPrefix(c.buf[:n], []byte("HTTP/1.1 200 ")) {
			return false, fmt.Errorf("unexpected answer %q", c.buf[:min(n, 20)])
		}
		if s.got += n; s.got < c.want {
			continue
		}
		c.Requests++
		s.got = 0
		if c.keep {
			if _, err := unix.Write(fd, c.request); err != nil {
				return false, fmt.Errorf("write: %w", err)
			}
		}
	}
}
