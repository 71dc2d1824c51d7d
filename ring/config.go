package ring

import (
	"errors"
	"time"

	"github.com/fastlb/fastlb/numa"
)

// Bind is how a socket is to exchange frames with the driver.
type Bind uint8

const (
	BindZeroCopy Bind = iota // the NIC reads and writes the UMEM itself; refused where the driver cannot
	BindCopy                 // the kernel copies
)

func (b Bind) String() string {
	if b == BindZeroCopy {
		return "zerocopy"
	}
	return "copy"
}

// Config of a live socket.
type Config struct {
	Interface string // name, for messages and, when Index is 0, to find the interface
	Index     int    // the kernel's interface index
	Queue     int
	UMEM      *UMEM
	Bind      Bind // first socket of a UMEM; the others take what the first one got
	Sizes     Sizes
	TXBudget  int // packets that one wakeup may send in copy mode; 0: the TX ring's size. Kernels before 6.18 keep their 32
	BusyPoll  BusyPoll
	Segments  bool // packets may lie in several frames (XDP_USE_SG): see SegmentsSupported. The first socket of a UMEM decides
}

// BusyPoll makes the kernel work on the queue inside our system calls instead of in interrupts, from the first packet on;
// a kernel or a queue that cannot goes on with interrupts (Socket.BusyPollRefused, Counters.NAPI). The zero value leaves
// interrupts alone. It holds them off only where the interface is told to (napi_defer_hard_irqs, gro_flush_timeout).
type BusyPoll struct {
	Time   time.Duration // SO_BUSY_POLL, whole microseconds; 0: off
	Budget int           // SO_BUSY_POLL_BUDGET: packets a call; 0: the kernel's 8
	Prefer bool          // SO_PREFER_BUSY_POLL: hold interrupts off while we poll
}

// UMEMConfig of a worker's packet memory.
type UMEMConfig struct {
	Frames    int // rounded up to whole huge pages where those are used
	HugePages numa.HugePages
	Node      int // NUMA node, -1: wherever the thread runs
}

// Statistics are the kernel's own counters of a socket (XDP_STATISTICS).
type Statistics struct {
	RXDropped      uint64 // packets dropped for other reasons than those below
	RXInvalidDescs uint64 // fill ring entries that were no frame
	TXInvalidDescs uint64 // TX descriptors that left the UMEM
	RXRingFull     uint64 // packets dropped: the worker was late
	FillRingEmpty  uint64 // packets dropped: no free frame
	TXRingEmpty    uint64 // times the driver looked for something to send in vain
}

// Errors of Open, to be tested with errors.Is. The text says what to do.
var (
	ErrNoInterface  = errors.New("no such interface: see `ip link`")
	ErrPermission   = errors.New("not permitted: AF_XDP needs CAP_NET_RAW and CAP_NET_ADMIN (run as root)")
	ErrMemlock      = errors.New("not enough lockable memory: raise the limit (`ulimit -l`, LimitMEMLOCK=infinity) or grant CAP_IPC_LOCK")
	ErrQueueBusy    = errors.New("queue is bound already: another AF_XDP program, or another director, uses it")
	ErrNoQueue      = errors.New("no such queue: see `ethtool -l`")
	ErrNotSupported = errors.New("not supported by this driver or kernel")
)
