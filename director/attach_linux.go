package director

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/safchain/ethtool"
	"go.uber.org/zap"

	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/tune"
	"github.com/fastlb/fastlb/worker"
	"github.com/fastlb/fastlb/xdp"
)

// attached is an interface with our program on it.
type attached struct {
	nic
	want       string // attach of the configuration
	driver     string
	total      int // queues that it had when it was attached
	attachment *xdp.Attachment
	detached   bool
	zeroCopy   bool
	why        string // why no better mode was had
	macs       [][6]byte
	grown      bool // the driver made more queues with the program
	busyPoll   busyPoll
	offloads   offloads
	irqs       [][]tune.IRQ // by queue
	table      []int        // of RSS, as it was found
	mtu        int          // when it was found
	features   xdp.Features // of its driver; known only where the MTU makes them matter
	chains     bool         // its sockets are bound for packets of several frames
	segments   int          // frames of the longest packet that it carries
	short      string       // why that is one, where its MTU calls for more
}

// mode is the contract's word for how packets come and go.
func (n *attached) mode() string {
	switch {
	case n.attachment.Mode() == xdp.Generic:
		return "generic"
	case n.zeroCopy:
		return "zerocopy"
	}
	return "copy"
}

// detach takes the program off; once.
func (n *attached) detach() error {
	if n.detached {
		return nil
	}
	n.detached = true
	return n.attachment.Detach()
}

// busyPatience is how long a queue may be taken: the kernel gives one back a moment after the last socket is closed.
const busyPatience = 5 * time.Second

// attachInterfaces finds the interfaces, shares the queues out, attaches the program and opens the sockets. The program
// knows what is to be taken from the wire before it is attached, so that in the place of a dead director's program it goes
// on keeping those packets from the kernel, which would answer RST: they are dropped until there are sockets, and wait in
// these until there are workers.
func (d *Director) attachInterfaces() error {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("ask drivers (ethtool): %w", err)
	}
	d.tool = tool
	d.later(func() error { tool.Close(); return nil })
	if d.machine.Topology, err = numa.Read(); err != nil {
		return err
	}
	if err := d.findInterfaces(); err != nil {
		return err
	}
	if err := d.placeWorkers(); err != nil {
		return err
	}
	if d.programs, err = xdp.Load(); err != nil {
		return err
	}
	d.later(d.programs.Close)
	if err := d.foresee(); err != nil {
		return err
	}
	for _, n := range d.nics {
		if err := d.attach(n); err != nil {
			return err
		}
	}
	if err := d.settle(); err != nil {
		return err
	}
	return d.openSockets(d.plan.seats)
}

// findInterfaces looks the configured interfaces up. A VLAN's packets come through the NIC that carries it.
func (d *Director) findInterfaces() error {
	net := d.net.Snapshot()
	var faults []error
	for _, c := range d.cfg.Interfaces {
		name := c.Name
		i, ok := net.InterfaceByName(name)
		if ok {
			i = net.Interfaces[i].Parent
		} else if c.Parent != "" {
			i, ok = net.InterfaceByName(c.Parent)
		}
		if !ok {
			faults = append(faults, fmt.Errorf("interface %s: %w", name, xdp.ErrNoInterface))
			continue
		}
		f := &net.Interfaces[i]
		if slices.ContainsFunc(d.nics, func(n *attached) bool { return n.index == f.Index }) {
			continue
		}
		if f.MAC == ([6]byte{}) {
			faults = append(faults, fmt.Errorf("interface %s is no Ethernet interface: it has no MAC address", f.Name))
			continue
		}
		if !f.Up {
			faults = append(faults, fmt.Errorf("interface %s is down: `ip link set %s up`", f.Name, f.Name))
			continue
		}
		n := &attached{nic: nic{name: f.Name, index: f.Index, node: d.nodeOf(f.Name)}, want: c.Attach, macs: macsOf(net, f.Index),
			mtu: int(f.MTU)}
		n.driver, _ = d.tool.DriverName(f.Name) // for display alone
		n.total = d.countQueues(f.Name)
		for q := range n.total {
			if len(c.Queues) == 0 || slices.Contains(c.Queues, q) {
				n.queues = append(n.queues, q)
			}
		}
		for _, q := range c.Queues {
			if q >= n.total {
				faults = append(faults, fmt.Errorf("interface %s: queues: there is no queue %d, it has %d (`ethtool -l %s`)", f.Name, q, n.total, f.Name))
			}
		}
		d.nics = append(d.nics, n)
	}
	if len(d.cfg.Interfaces) == 0 {
		faults = append(faults, errors.New("no interface: name one under interfaces: in the configuration, or with --interface"))
	}
	return errors.Join(faults...)
}

// macsOf are the addresses that packets for the director come to on a NIC: its own and those of VLANs on it.
func macsOf(net *neigh.Snapshot, index int) (macs [][6]byte) {
	nic := -1
	for i := range net.Interfaces {
		if net.Interfaces[i].Index == index && !net.Interfaces[i].Gone {
			nic = i
		}
	}
	for i := range net.Interfaces {
		f := &net.Interfaces[i]
		if !f.Gone && (i == nic || f.Parent == nic) && !slices.Contains(macs, f.MAC) {
			macs = append(macs, f.MAC)
		}
	}
	return macs
}

// setMACs follows changes of addresses.
func (n *attached) setMACs(net *neigh.Snapshot) error {
	macs := macsOf(net, n.index)
	if len(macs) == 0 || slices.Equal(macs, n.macs) { // none: the interface is gone
		return nil
	}
	if err := n.attachment.SetMACs(macs); err != nil {
		return err
	}
	n.macs = macs
	return nil
}

// attach puts the program on an interface, natively if the driver can and nothing else is asked for.
func (d *Director) attach(n *attached) (err error) {
	if err := d.setOffloads(n, n.want == "generic"); err != nil {
		return err
	}
	ifc := xdp.Interface{Name: n.name, Index: n.index, MACs: n.macs, Queues: n.total, Large: n.mtu > frameMTU}
	modes := []xdp.Mode{xdp.Native}
	switch n.want {
	case "auto", "":
		modes = []xdp.Mode{xdp.Native, xdp.Generic}
	case "generic":
		modes = []xdp.Mode{xdp.Generic}
	}
	for _, m := range modes {
		if m == xdp.Generic && n.why != "" {
			if err := d.setOffloads(n, true); err != nil {
				return err
			}
		}
		if n.attachment, err = d.programs.Attach(ifc, m); err == nil {
			d.later(n.detach)
			d.later(n.released)
			return nil
		}
		if !errors.Is(err, xdp.ErrNotSupported) {
			return err
		}
		n.why = err.Error()
	}
	return n.refused(err)
}

// openSockets opens the workers' sockets in the best layout that the drivers agree to: an interface that cannot do
// zero copy does not keep the others from it.
func (d *Director) openSockets(places []seat) error {
	try := make([]bool, len(d.nics))
	for i, n := range d.nics {
		try[i] = n.attachment.Mode() == xdp.Native && n.want != "copy" && n.want != "generic"
	}
	if err := d.wantSegments(try); err != nil {
		return err
	}
	d.layout = firstLayout(try, d.opt.apart)
	for {
		err := d.openWith(places, d.layout)
		var r *refusal
		if err == nil {
			break
		}
		if !errors.As(err, &r) {
			return err
		}
		next, ok := d.layout.refused(r.nic)
		n := d.nics[r.nic]
		copies := ok && next[next.of(r.nic)].bind == ring.BindCopy
		if copies && n.want == "zerocopy" {
			return fmt.Errorf("interface %s: attach: zerocopy: not to be had here, auto takes the best that is: %w", n.name, err)
		}
		if !ok {
			return err
		}
		if copies {
			n.why = err.Error()
		}
		d.log.Debug("sockets are opened anew", zap.String("interface", n.name), zap.Error(err))
		d.layout = next
	}
	if err := d.setLimits(); err != nil {
		return err
	}
	for _, n := range d.nics {
		d.log.Info("interface attached", zap.String("interface", n.name), zap.String("driver", n.driver), zap.String("mode", n.mode()),
			zap.Ints("queues", n.queues), zap.Int("longest_packet", n.longest()), zap.String("why", n.why))
	}
	if len(d.layout) > 1 {
		d.log.Info("packets from one of these groups of interfaces to another are copied: their drivers cannot share frames",
			zap.Any("groups", d.groups()))
	}
	return nil
}

// refusal is a driver's that cannot do what a layout wants of it.
type refusal struct {
	nic int
	err error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// groups are the names of the interfaces that share frames.
func (d *Director) groups() (l [][]string) {
	for _, g := range d.layout {
		var names []string
		for _, n := range g.nics {
			names = append(names, d.nics[n].name)
		}
		l = append(l, names)
	}
	return l
}

// openWith opens all sockets in one layout, or none.
func (d *Director) openWith(places []seat, l layout) (err error) {
	mode, err := parsePoll(d.cfg.Workers.Poll)
	if err != nil {
		return err
	}
	huge, err := numa.ParseHugePages(d.cfg.Workers.Hugepages)
	if err != nil {
		return err
	}
	slots := max(1<<bits.Len(uint(d.cfg.Workers.Frames)/4)>>1, minSlots)
	sizes := ring.Sizes{Fill: slots, Completion: slots, RX: slots, TX: slots}
	undo := len(d.undo)
	defer func() {
		if err != nil {
			for len(d.undo) > undo {
				last := len(d.undo) - 1
				err = errors.Join(err, d.undo[last]())
				d.undo = d.undo[:last]
			}
			d.runners = nil
		}
	}()
	for _, s := range places {
		r := &runner{seat: s, pace: pace{mode: mode}}
		if r.memory, err = ring.NewUMEMs(huge, s.node, l.frames(s.queues, sizes)...); err != nil {
			return fmt.Errorf("worker %d: %w", s.id, err)
		}
		d.later(r.memory.Close)
		for i, queues := range s.queues {
			var own []*ring.Socket
			g := l.of(i)
			for _, q := range queues {
				socket, err := d.openSocket(d.nics[i], q, r.memory.List[g], l[g], sizes)
				if errors.Is(err, ring.ErrNotSupported) {
					err = &refusal{i, err}
				}
				if err != nil {
					return fmt.Errorf("worker %d: %w", s.id, err)
				}
				own = append(own, socket)
			}
			port := newPort(own)
			if r.memory.Parts != nil {
				port = ring.NewCrossing(port, r.memory.Parts, g, worker.MaxBatch)
			}
			r.sockets = append(r.sockets, own...)
			r.ports = append(r.ports, port)
		}
		if r.poller, err = ring.NewPoller(r.sockets...); err != nil {
			return fmt.Errorf("worker %d: %w", s.id, err)
		}
		d.later(r.poller.Close)
		d.runners = append(d.runners, r)
	}
	return nil
}

// minSlots is the least number of slots of a ring.
const minSlots = 64

func (d *Director) openSocket(n *attached, queue int, umem *ring.UMEM, g group, sizes ring.Sizes) (*ring.Socket, error) {
	cfg := ring.Config{Interface: n.name, Index: n.index, Queue: queue, UMEM: umem, Bind: g.bind, Sizes: sizes, Segments: d.segmentsIn(g),
		BusyPoll: d.planBusyPoll(n)}
	socket, err := ring.Open(cfg)
	for until := time.Now().Add(busyPatience); errors.Is(err, ring.ErrQueueBusy) && time.Now().Before(until); socket, err = ring.Open(cfg) {
		time.Sleep(restTime)
	}
	if err != nil {
		return nil, err
	}
	d.later(socket.Close)
	n.zeroCopy, n.chains = socket.ZeroCopy(), socket.Segments()
	if err := n.attachment.SetSocket(queue, socket.FD()); err != nil {
		return nil, err
	}
	return socket, nil
}
