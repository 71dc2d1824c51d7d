package perf

import (
	"math/bits"
	"sync/atomic"
)

// Counter is a count with one writer: the writer adds with a load and a store, readers load at any time.
type Counter struct{ v uint64 }

// Add adds n; the owner only.
func (c *Counter) Add(n uint64) { add(&c.v, n) }

// Load reads the count.
func (c *Counter) Load() uint64 { return atomic.LoadUint64(&c.v) }

// BatchBuckets are the upper bounds of Worker.Batches: 0, 1, 2, 4 … 256, and more.
const BatchBuckets = 11

// Port counts one port's traffic.
type Port struct{ RXPackets, RXBytes, TXPackets, TXBytes Counter }

// Worker is what one worker counts. The worker is the only writer; it fills whole cache lines of its own.
type Worker struct {
	_        [64]byte
	Reasons  [Reasons]Counter // drops and passes, in received frames
	Ports    []Port
	Rounds   Counter
	Busy     Counter // rounds that had packets
	Packets  Counter // packets handled
	Made     Counter // packets that the director itself made (ICMP errors)
	Used     Counter // packets that the director itself consumed (errors about its tunnels)
	Handed   Counter // fragments handed to another worker
	NoRoom   Counter // connections refused because the table was full
	Batches  [BatchBuckets]Counter
	Sleeps   Counter // times that the owner waited for packets: poll system calls
	IdleTime Counter // nanoseconds that the owner spent blocked
	BusyTime Counter // nanoseconds that the owner spent in rounds with packets
	_        [64]byte
}

// Init prepares the counters for a number of ports.
func (w *Worker) Init(ports int) { w.Ports = make([]Port, ports) }

// Received counts frames and bytes of a port.
func (w *Worker) Received(port, n int, bytes uint64) {
	w.Ports[port].RXPackets.Add(uint64(n))
	w.Ports[port].RXBytes.Add(bytes)
}

// Sent counts frames and bytes of a port.
func (w *Worker) Sent(port, n int, bytes uint64) {
	w.Ports[port].TXPackets.Add(uint64(n))
	w.Ports[port].TXBytes.Add(bytes)
}

// Drop counts dropped frames.
func (w *Worker) Drop(r Reason, n uint64) { w.Reasons[r].Add(n) }

// Passed counts frames that were left to the kernel.
func (w *Worker) Passed(r Reason, n uint64) { w.Reasons[r].Add(n) }

// Generated counts a packet that the director made.
func (w *Worker) Generated() { w.Made.Add(1) }

// Consumed counts packets whose destination the director itself was.
func (w *Worker) Consumed(n uint64) { w.Used.Add(n) }

// HandedOver counts a fragment that another worker reassembles.
func (w *Worker) HandedOver() { w.Handed.Add(1) }

// Refused counts a connection for which the table had no room.
func (w *Worker) Refused() { w.NoRoom.Add(1) }

// Round counts a turn with n packets.
func (w *Worker) Round(n int) {
	w.Rounds.Add(1)
	if n > 0 {
		w.Busy.Add(1)
		w.Packets.Add(uint64(n))
	}
	w.Batches[min(bits.Len(uint(n)), BatchBuckets-1)].Add(1)
}
