package director

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/xdp"
)

// loadMeter follows how busy a worker is.
type loadMeter struct {
	busy  uint64 // nanoseconds, at the last measurement
	at    time.Time
	ratio float64
}

// smooth is the weight of the newest second in the ratio: about five seconds count.
const smooth = 0.3

// measure takes the workers' busy time, once a second.
func (d *Director) measure() {
	now := time.Now()
	for i, r := range d.runners {
		m := &d.load[i]
		busy := r.worker.Stats().BusyTime.Load()
		if span := now.Sub(m.at); !m.at.IsZero() && span > 0 {
			share := min(float64(busy-m.busy)/float64(span), 1)
			m.ratio += smooth * (share - m.ratio)
		}
		m.busy, m.at = busy, now
	}
}

// Status is a picture of the director as it is now.
func (d *Director) Status() (s Status, err error) {
	err = d.do(func() (err error) { s, err = d.status(); return err })
	return s, err
}

func (d *Director) status() (Status, error) {
	s := Status{
		Version: d.opt.Version, Go: runtime.Version(), PID: os.Getpid(), Started: d.started, Now: time.Now(), Config: d.opt.File,
		Services: len(d.control.Table().Services()), Kernel: d.tun.status(), Steering: map[string]uint64{},
		Flows: FlowStatus{
			Entries: uint64(max(d.state.flows.Len(), 0)), Capacity: uint64(d.state.flows.Capacity()), State: d.cfg.Flows.State,
			Adopted: uint64(d.state.found), Bytes: uint64(d.state.memory.Size()), Pages: d.state.memory.Pages(),
		},
	}
	network := d.net.Snapshot()
	for _, n := range d.nics {
		f := InterfaceStatus{Name: n.name, Index: n.index, Driver: n.driver, Mode: n.mode(), Queues: n.queues, Longest: n.longest(), Why: n.why, BusyPoll: n.busyPoll.said}
		if i, ok := network.InterfaceByName(n.name); ok && network.Interfaces[i].Index == n.index {
			i := &network.Interfaces[i]
			f.MAC, f.MTU, f.Up = net.HardwareAddr(i.MAC[:]).String(), int(i.MTU), i.Up
		}
		s.Interfaces = append(s.Interfaces, f)
	}
	s.Groups = d.groups()
	var faults []error
	for i, r := range d.runners {
		w, err := d.workerStatus(r)
		faults = append(faults, err)
		w.Busy = d.load[i].ratio
		s.Workers = append(s.Workers, w)
		s.Flows.Refused += r.worker.Stats().NoRoom.Load()
	}
	s.Placement = d.placement()
	counts, err := d.programs.Counters()
	faults = append(faults, err)
	for e, n := range counts {
		s.Steering[xdp.Exit(e).String()] = n
	}
	for _, subject := range slices.Sorted(maps.Keys(d.warnings)) {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s: %s", subject, d.warnings[subject]))
	}
	return s, errors.Join(faults...)
}

func (d *Director) workerStatus(r *runner) (WorkerStatus, error) {
	c := r.worker.Stats()
	w := WorkerStatus{
		ID: r.seat.id, CPU: r.seat.cpu, Node: r.seat.home, Poll: r.pace.mode.String(), Frames: r.memory.Total, Pages: r.memory.Pages.String(),
		Memory: r.memoryStatus(),
		Rounds: c.Rounds.Load(), BusyNS: c.BusyTime.Load(), IdleNS: c.IdleTime.Load(), Batch: Histogram{Sum: c.Packets.Load()},
		Syscalls: SyscallStatus{Poll: c.Sleeps.Load()},
	}
	w.Drops, w.Passes = reasons(func(x perf.Reason) uint64 { return c.Reasons[x].Load() })
	for i := 1; i < perf.BatchBuckets; i++ { // the first bucket is the rounds without a packet
		w.Batch.Counts = append(w.Batch.Counts, c.Batches[i].Load())
		if i < perf.BatchBuckets-1 {
			w.Batch.Bounds = append(w.Batch.Bounds, 1<<i-1)
		}
	}
	socket := 0
	var faults []error
	for i, queues := range r.seat.queues {
		p := &c.Ports[i]
		w.RXPackets += p.RXPackets.Load()
		w.RXBytes += p.RXBytes.Load()
		w.TXPackets += p.TXPackets.Load()
		w.TXBytes += p.TXBytes.Load()
		for j, q := range queues {
			k := r.sockets[socket]
			socket++
			u := QueueStatus{
				Interface: d.nics[i].name, Queue: q, TXRingFull: k.Counters().TXFull.Load(),
				NAPI:    max(k.Counters().NAPI.Load(), 0),
				Wakeups: k.Counters().TXWakeups.Load() + k.Counters().RXWakeups.Load(),
			}
			w.Syscalls.add(k.Counters())
			if j == 0 { // a NIC's queues of one worker are counted together
				u.RXPackets, u.RXBytes, u.TXPackets, u.TXBytes = p.RXPackets.Load(), p.RXBytes.Load(), p.TXPackets.Load(), p.TXBytes.Load()
			}
			stats, err := k.Statistics()
			faults = append(faults, err)
			u.RXRingFull, u.FillRingEmpty, u.RXDropped = stats.RXRingFull, stats.FillRingEmpty, stats.RXDropped
			w.Queues = append(w.Queues, u)
		}
	}
	return w, errors.Join(faults...)
}

// add adds a socket's wakeups.
func (s *SyscallStatus) add(c *ring.Counters) {
	s.Send += c.TXWakeups.Load()
	s.Receive += c.RXWakeups.Load()
	s.Again += c.Again.Load() + c.Busy.Load() + c.NoBufs.Load() + c.NetDown.Load() + c.WakeFailed.Load()
}
