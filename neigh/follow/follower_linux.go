package follow

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
)

// Pace of the follower.
const (
	quiet      = 2 * time.Millisecond   // a burst of neighbour changes is published this long after its first
	settle     = 10 * time.Millisecond  // links, addresses and routes are dumped this long after the first change
	idleFactor = 10                     // and a dump rests ten times as long as the last one took
	askAgain   = 500 * time.Millisecond // a neighbour is not asked for more often
	refresh    = 5 * time.Second        // stale neighbours in use are probed this often
	bufferSize = 4 << 20                // bytes of the event socket's buffer
)

// hopKey identifies a neighbour of the Builder.
type hopKey struct {
	iface int
	addr  netip.Addr
}

// used is what the follower remembers of a neighbour that the dataplane uses.
type used struct {
	asked   time.Time // when the kernel was last asked
	kept    bool      // by Keep: asked for again and again
	gateway bool      // of a route: likewise
}

// Follower follows the network of the namespace that Start was called in.
type Follower struct {
	opt       Options
	snapshot  atomic.Pointer[neigh.Snapshot]
	asks      chan hopKey
	commands  chan func() (changed bool)
	events    chan event
	done      chan struct{}
	closeOnce sync.Once
	wait      sync.WaitGroup
	socket    *nl.NetlinkSocket // events
	kernel    *netlink.Handle   // requests

	// The rest is the loop's.
	b        *neigh.Builder
	byIndex  map[int]int // the kernel's interface index → the Builder's
	network  network     // as last dumped
	state    map[hopKey]int
	static   map[netip.Addr][6]byte
	fixed    map[hopKey]bool // static neighbours as they were set
	used     map[hopKey]used
	limits   map[int]uint32 // of NICs, by the kernel's index
	ruleSeen string
}

// event is what the reader has seen.
type event struct {
	neighbor *netlink.Neigh // or nil
	gone     bool           // the neighbour was deleted
	network  bool           // links, addresses, routes or rules changed
	lost     bool           // events were lost
	err      error          // the socket is gone
}

// Start dumps the network and follows it from then on.
func Start(opt Options) (_ *Follower, err error) {
	f := &Follower{
		opt: opt, asks: make(chan hopKey, 1024), commands: make(chan func() bool), events: make(chan event, 1024), done: make(chan struct{}),
		b: neigh.NewBuilder(), state: map[hopKey]int{}, static: maps.Clone(opt.Neighbors), fixed: map[hopKey]bool{}, used: map[hopKey]used{},
	}
	defer func() {
		if err != nil {
			f.release()
		}
	}()
	f.socket, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP)
	if err != nil {
		return nil, fmt.Errorf("subscribe to the kernel's network events: %w", err)
	}
	if f.socket.SetReceiveBufferSize(bufferSize, true) != nil { // needs CAP_NET_ADMIN; without, the system's limit holds
		if err := f.socket.SetReceiveBufferSize(bufferSize, false); err != nil {
			return nil, fmt.Errorf("event buffer of %d bytes: %w", bufferSize, err)
		}
	}
	if f.kernel, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err = f.resync(); err != nil {
		return nil, err
	}
	f.refresh()
	f.snapshot.Store(f.b.Snapshot())
	f.wait.Add(2)
	go f.read()
	go f.loop()
	return f, nil
}

// Snapshot returns the network as it was last seen.
func (f *Follower) Snapshot() *neigh.Snapshot { return f.snapshot.Load() }

// Ask has the kernel resolve the neighbour addr on an interface (index into Snapshot.Interfaces). It never blocks; a
// question too many is dropped, for it will come again.
func (f *Follower) Ask(iface int, addr netip.Addr) {
	select {
	case f.asks <- hopKey{iface, addr}:
	default:
	}
}

// Keep says which next hops are to be kept resolved although nobody asks: those of the real servers.
func (f *Follower) Keep(hops []neigh.HopID) {
	s := f.Snapshot()
	f.do(func() (changed bool) {
		for k, u := range f.used {
			u.kept = false
			f.used[k] = u
		}
		for _, id := range hops {
			h := s.Hop(id)
			k := hopKey{h.Interface, h.Addr}
			u := f.used[k]
			u.kept = true
			f.used[k] = u
			if !h.Resolved {
				changed = f.ask(k) || changed
			}
		}
		return changed
	})
}

// SetNeighbors replaces the static neighbours.
func (f *Follower) SetNeighbors(list map[netip.Addr][6]byte) {
	f.do(func() bool {
		f.static = maps.Clone(list)
		f.setStatic()
		return true
	})
}

// SetLimits tells how long packets the dataplane carries on NICs, by the kernel's interface index, where that is less than
// their MTU allows (neigh.Interface.Limit). VLANs have their NIC's.
func (f *Follower) SetLimits(limits map[int]uint32) (err error) {
	f.do(func() bool {
		f.limits = maps.Clone(limits)
		err = f.resync()
		return true
	})
	return err
}

// do runs a function in the loop and waits for it; after Close it does nothing.
func (f *Follower) do(fn func() (changed bool)) {
	ran := make(chan struct{})
	select {
	case f.commands <- func() bool { defer close(ran); return fn() }:
		<-ran
	case <-f.done:
	}
}

// Close ends following; the last snapshot stands.
func (f *Follower) Close() error {
	f.closeOnce.Do(func() {
		close(f.done)
		f.socket.Close() // ends read; loop ends after the dump that it may be at
		f.wait.Wait()
		f.kernel.Close()
	})
	return nil
}

// release closes what Start has opened so far.
func (f *Follower) release() {
	if f.socket != nil {
		f.socket.Close()
	}
	if f.kernel != nil {
		f.kernel.Close()
	}
}

// read turns messages into events until the socket is closed.
func (f *Follower) read() {
	defer f.wait.Done()
	for {
		messages, _, err := f.socket.Receive()
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOBUFS):
			f.send(event{lost: true})
			continue
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		default:
			if !errors.Is(err, os.ErrClosed) {
				f.send(event{err: err})
			}
			return
		}
		network := false
		for _, m := range messages {
			switch m.Header.Type {
			case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
				n, err := netlink.NeighDeserialize(m.Data)
				if err != nil || n.Family != unix.AF_INET && n.Family != unix.AF_INET6 {
					continue
				}
				f.send(event{neighbor: n, gone: m.Header.Type == unix.RTM_DELNEIGH})
			case syscall.NLMSG_NOOP, syscall.NLMSG_DONE:
			default:
				network = true
			}
		}
		if network {
			f.send(event{network: true})
		}
	}
}

func (f *Follower) send(e event) {
	select {
	case f.events <- e:
	case <-f.done:
	}
}

// loop owns the Builder: it takes events and questions in, and publishes.
func (f *Follower) loop() {
	defer f.wait.Done()
	var (
		publish  = time.NewTimer(time.Hour)
		dump     = time.NewTimer(time.Hour)
		again    = time.NewTicker(refresh)
		dirty    bool // publish is running
		stale    bool // dump is running
		everyone bool // the dump shall be of everything
		rest     time.Time
	)
	defer publish.Stop()
	defer dump.Stop()
	defer again.Stop()
	redump := func() {
		if !stale {
			stale = true
			dump.Reset(max(settle, time.Until(rest)))
		}
	}
	changed := func() {
		if !dirty {
			dirty = true
			publish.Reset(quiet)
		}
	}
	for {
		select {
		case <-f.done:
			return
		case e := <-f.events:
			switch {
			case e.err != nil:
				f.opt.fault(fmt.Errorf("the kernel's network events ended; the dataplane goes on with what it knows: %w", e.err))
			case e.lost:
				f.opt.fault(errors.New("the kernel's network events came too fast and some were lost; everything is read again"))
				everyone = true
				redump()
			case e.network:
				redump()
			case f.neighbor(e.neighbor, e.gone):
				changed()
			}
		case k := <-f.asks:
			if f.ask(k) {
				changed()
			}
		case c := <-f.commands:
			if c() {
				changed()
			}
		case <-again.C:
			if f.refresh() {
				changed()
			}
		case <-publish.C:
			if dirty {
				dirty = false
				f.publish()
			}
		case <-dump.C:
			stale = false
			start := time.Now()
			var err error
			if everyone {
				everyone = false
				err = f.resync()
			} else {
				_, err = f.redump()
			}
			rest = time.Now().Add(idleFactor * time.Since(start))
			if err != nil {
				f.opt.fault(err)
				everyone = true
				rest = time.Now().Add(time.Second)
				redump()
				continue
			}
			f.publish()
		}
	}
}

// publish makes a snapshot and tells of it.
func (f *Follower) publish() {
	s := f.b.Snapshot()
	f.snapshot.Store(s)
	f.opt.changed(s)
}

// setStatic puts the static neighbours where they belong, and takes away those that are no longer given.
func (f *Follower) setStatic() {
	next := map[hopKey]bool{}
	s := f.b.Snapshot()
	for a, mac := range f.static {
		r := s.Route(packet.AddrFrom(a))
		if !a.IsLinkLocalUnicast() && r.Kind == neigh.Unicast && r.Next == a.Unmap() {
			f.b.Resolve(r.Interface, a, mac)
			next[hopKey{r.Interface, a}] = true
			continue
		}
		for i := range s.Interfaces {
			f.b.Resolve(i, a, mac)
			next[hopKey{i, a}] = true
		}
	}
	for k := range f.fixed {
		if !next[k] {
			f.b.Forget(k.iface, k.addr)
			f.ask(k)
		}
	}
	f.fixed = next
}
