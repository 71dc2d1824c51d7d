package twin

import (
	"net/netip"

	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/perf"
)

// Route is a static route: packets to To go to the neighbour Via.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Config is what surrounds the director. Services are added by Command.
type Config struct {
	Interfaces []neigh.Interface
	Neighbors  map[netip.Addr][6]byte
	Routes     []Route
}

// Verdict is what became of a frame.
type Verdict string

const (
	Forward Verdict = "forward" // sent on, rewritten or not
	Pass    Verdict = "pass"    // left to the kernel
	Drop    Verdict = "drop"
	Hold    Verdict = "hold" // a fragment that waits for the rest of its datagram
)

// Sent is a frame that the director sent.
type Sent struct {
	Interface int // index into Config.Interfaces of the NIC (a VLAN's parent)
	Frame     []byte
	Made      bool // the outermost IP header is the director's own: its identification is arbitrary
}

// Outcome is what a frame led to.
type Outcome struct {
	Verdict Verdict
	Reason  perf.Reason // of Drop and Pass
	Sent    []Sent
	Passed  []byte // the IP packet that the kernel gets, where its reason is more than the link header's
}

// Twin is a director. Not safe for concurrent use. Times are nanoseconds on any one clock and never go back.
type Twin struct {
	cfg      Config
	now      int64
	services []*service
	trash    []*server // removed, but kept: connections may use them, or they may come back
	trashAt  int64     // when to look at them next
	conns    []*conn
	held     []*datagram
	tcp      [11]int64 // timeouts by state, nanoseconds
	udp      int64
	tunables map[string]int
	nextID   uint16
	made     int // length of the error that refuse made last, 0 if it made none

	// Disputed collects, for the reader of a failed comparison, the rules of doubtful standing that were applied.
	Disputed []string
}

// New returns a director without services.
func New(cfg Config) *Twin {
	t := &Twin{cfg: cfg, udp: 300 * second, nextID: 1}
	t.cfg.Interfaces = append([]neigh.Interface(nil), cfg.Interfaces...)
	t.cfg.Neighbors = map[netip.Addr][6]byte{}
	for a, m := range cfg.Neighbors {
		t.cfg.Neighbors[a] = m
	}
	for s, secs := range []int64{2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120} {
		t.tcp[s] = secs * second
	}
	t.tunables = map[string]int{"pmtu_disc": 1, "conn_reuse_mode": 1, "expire_nodest_conn": 0, "sloppy_tcp": 0, "expire_quiescent_template": 0}
	return t
}

const second = int64(1e9)
