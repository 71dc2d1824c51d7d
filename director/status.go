package director

import (
	"time"

	"github.com/fastlb/fastlb/perf"
)

// Status is a picture of the running director: what `fastlb status` prints, the API answers and metrics export. All
// counts are since the start.
type Status struct {
	Version    string            `json:"version"`
	Go         string            `json:"go"`
	PID        int               `json:"pid"`
	Started    time.Time         `json:"started"`
	Now        time.Time         `json:"now"`
	Config     string            `json:"config,omitempty"` // file
	Services   int               `json:"services"`
	Interfaces []InterfaceStatus `json:"interfaces"`
	Groups     [][]string        `json:"groups"` // of interfaces that share frames: from one group to another packets are copied
	Workers    []WorkerStatus    `json:"workers"`
	Placement  []QueuePlace      `json:"placement"` // of each queue that has a worker
	Flows      FlowStatus        `json:"flows"`
	Kernel     PassStatus        `json:"kernel"`             // what was handed back to the kernel's stack
	Steering   map[string]uint64 `json:"steering,omitempty"` // packets by how the XDP programs ended
	Warnings   []string          `json:"warnings,omitempty"` // about the site, as they stand
}

// InterfaceStatus is one interface that the director forwards on.
type InterfaceStatus struct {
	Name    string `json:"name"`
	Index   int    `json:"index"`
	Driver  string `json:"driver,omitempty"`
	MAC     string `json:"mac"`            // "": the interface is gone
	MTU     int    `json:"mtu"`            // bytes
	Longest int    `json:"longest_packet"` // bytes: the longest packet that the director can carry there, whatever the MTU
	Up      bool   `json:"up"`
	Mode    string `json:"mode"` // zerocopy, copy or generic
	Queues  []int  `json:"queues"`
	Why     string `json:"why,omitempty"` // why no better mode was had

	BusyPoll string `json:"busy_poll,omitempty"` // how the workers poll its queues themselves; "": by interrupts, as configured
}

// WorkerStatus is one worker. Packets by reason: dropped ones, and those left to the kernel.
type WorkerStatus struct {
	ID        int               `json:"id"`
	CPU       int               `json:"cpu"`  // -1: not pinned
	Node      int               `json:"node"` // NUMA node of the CPU, -1: unknown
	Poll      string            `json:"poll"`
	Frames    int               `json:"frames"`
	Pages     string            `json:"pages"` // kind of memory pages under the frames
	Memory    MemoryStatus      `json:"memory"`
	Queues    []QueueStatus     `json:"queues"`
	RXPackets uint64            `json:"rx_packets"`
	RXBytes   uint64            `json:"rx_bytes"`
	TXPackets uint64            `json:"tx_packets"`
	TXBytes   uint64            `json:"tx_bytes"`
	Drops     map[string]uint64 `json:"drops,omitempty"`
	Passes    map[string]uint64 `json:"passes,omitempty"`
	Rounds    uint64            `json:"rounds"`
	BusyNS    uint64            `json:"busy_ns"` // time spent in rounds that had packets
	IdleNS    uint64            `json:"idle_ns"` // the rest, sleeping included
	Busy      float64           `json:"busy"`    // share of busy time in the last seconds, 0 to 1
	Batch     Histogram         `json:"batch"`   // packets a round, of rounds that had any
	Syscalls  SyscallStatus     `json:"syscalls"`
}

// MemoryStatus is where a worker's frames are, at most a moment ago: each is in one place. Copied is since the start.
type MemoryStatus struct {
	Free     int    `json:"free"`
	Filled   int    `json:"filled"`    // in fill rings: to be received into
	InDriver int    `json:"in_driver"` // taken out of them by the kernel: in the NIC's rings
	Received int    `json:"received"`  // in RX rings: packets that wait for the worker
	Sending  int    `json:"sending"`   // in TX rings, NICs and completion rings
	Held     int    `json:"held"`      // packets that wait for a neighbour's MAC address
	Missing  int    `json:"missing"`   // nowhere: none are, or the director has a fault
	Copied   uint64 `json:"copied"`    // packets' frames copied between interfaces that cannot share them
}

// SyscallStatus counts the system calls of a worker: all that it makes once it runs.
type SyscallStatus struct {
	Send    uint64 `json:"send"`    // sendto: the kernel is to send
	Receive uint64 `json:"receive"` // recvfrom: it is to look at the fill ring, or with busy polling to receive
	Poll    uint64 `json:"poll"`    // ppoll: the worker slept, or looked whether it may
	Again   uint64 `json:"again"`   // of the first two, those that the kernel broke off: it was busy, full or down
}

// Histogram counts values by upper bound: Counts[i] values were at most Bounds[i] and more than the bound before.
type Histogram struct {
	Bounds []uint64 `json:"bounds"`
	Counts []uint64 `json:"counts"`
	Sum    uint64   `json:"sum"`
}

// QueueStatus is one AF_XDP socket: a queue of an interface, with the kernel's counters of it.
type QueueStatus struct {
	Interface     string `json:"interface"`
	Queue         int    `json:"queue"`
	RXPackets     uint64 `json:"rx_packets"`
	RXBytes       uint64 `json:"rx_bytes"`
	TXPackets     uint64 `json:"tx_packets"`
	TXBytes       uint64 `json:"tx_bytes"`
	RXRingFull    uint64 `json:"rx_ring_full"`    // dropped: the worker was late
	FillRingEmpty uint64 `json:"fill_ring_empty"` // dropped: no free frame
	RXDropped     uint64 `json:"rx_dropped"`      // dropped by the kernel for other reasons
	TXRingFull    uint64 `json:"tx_ring_full"`
	Wakeups       uint64 `json:"wakeups"`
	NAPI          int64  `json:"napi,omitempty"` // what the worker polls; 0: nothing, packets come by interrupts
}

// FlowStatus is the connection table.
type FlowStatus struct {
	Entries  uint64 `json:"entries"`
	Capacity uint64 `json:"capacity"`
	Refused  uint64 `json:"refused"` // new connections that found the table full
	State    string `json:"state,omitempty"`
	Adopted  uint64 `json:"adopted,omitempty"` // connections found in the state file at start
	Bytes    uint64 `json:"bytes"`
	Pages    string `json:"pages"` // kind of memory pages
}

// PassStatus is the way back to the kernel's stack.
type PassStatus struct {
	Device  string `json:"device,omitempty"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Dropped uint64 `json:"dropped"` // the queue was full
	Errors  uint64 `json:"errors"`  // the kernel refused the write
}

// Total adds up the workers' packets and reasons.
func (s *Status) Total() (t WorkerStatus) {
	t.Drops, t.Passes = map[string]uint64{}, map[string]uint64{}
	for i := range s.Workers {
		w := &s.Workers[i]
		t.RXPackets += w.RXPackets
		t.RXBytes += w.RXBytes
		t.TXPackets += w.TXPackets
		t.TXBytes += w.TXBytes
		t.Rounds += w.Rounds
		t.BusyNS += w.BusyNS
		t.IdleNS += w.IdleNS
		t.Syscalls.Send += w.Syscalls.Send
		t.Syscalls.Receive += w.Syscalls.Receive
		t.Syscalls.Poll += w.Syscalls.Poll
		t.Syscalls.Again += w.Syscalls.Again
		for k, v := range w.Drops {
			t.Drops[k] += v
		}
		for k, v := range w.Passes {
			t.Passes[k] += v
		}
	}
	return t
}

// reasons sorts a worker's counts by reason into drops and passes; zeros are left out.
func reasons(count func(perf.Reason) uint64) (drops, passes map[string]uint64) {
	drops, passes = map[string]uint64{}, map[string]uint64{}
	for r := perf.ReasonNone + 1; int(r) < perf.Reasons; r++ {
		if n := count(r); n > 0 {
			if r.IsPass() {
				passes[r.String()] = n
			} else {
				drops[r.String()] = n
			}
		}
	}
	return drops, passes
}
