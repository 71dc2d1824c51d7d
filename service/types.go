package service

import (
	"fmt"
	"net/netip"

	"github.com/fastlb/fastlb/packet"
)

// IP protocol numbers that a service may have.
const (
	TCP  uint8 = 6
	UDP  uint8 = 17
	SCTP uint8 = 132
)

// Method is a forwarding method, numbered as LVS does on the wire (spec/connections.md 2.4).
type Method uint8

const (
	NAT    Method = 0
	Local  Method = 1
	Tunnel Method = 2
	DR     Method = 3
	Bypass Method = 4
)

// String is the configuration file's word; ipvsadm's own names (Masq, Route …) are in package ipvsadm.
func (m Method) String() string {
	switch m {
	case NAT:
		return "nat"
	case Local:
		return "local"
	case Tunnel:
		return "tunnel"
	case DR:
		return "dr"
	case Bypass:
		return "bypass"
	}
	return fmt.Sprintf("method-%d", uint8(m))
}

// Scheduler flags as the kernel's service flags have them, shifted down: bit 0 flag-1 (sh-fallback, mh-fallback),
// bit 1 flag-2 (sh-port, mh-port), bit 2 flag-3.
type SchedFlags uint8

const (
	SchedFlag1 SchedFlags = 1
	SchedFlag2 SchedFlags = 2
	SchedFlag3 SchedFlags = 4
)

// TunnelType of a server whose method is Tunnel.
type TunnelType uint8

const (
	IPIP TunnelType = 0
	GUE  TunnelType = 1
	GRE  TunnelType = 2
)

// TunnelChecksum says how the outer header is checksummed.
type TunnelChecksum uint8

const (
	NoChecksum     TunnelChecksum = 0
	Checksum       TunnelChecksum = 1
	RemoteChecksum TunnelChecksum = 2
)

// ID names a virtual service; comparable. Either Mark is 0 and Protocol, Addr and Port say which, or Mark is not 0 and
// only Family stands beside it.
type ID struct {
	Family   uint8 // 4 or 6
	Protocol uint8 // TCP, UDP, SCTP; 0 for a mark's service
	Addr     netip.Addr
	Port     uint16
	Mark     uint32
}

// Spec is a virtual service as the user asks for it.
type Spec struct {
	ID
	Scheduler  string // "" means "none": no scheduler
	Flags      SchedFlags
	Persistent bool
	Timeout    uint32 // persistence timeout in seconds, when Persistent
	Netmask    uint32 // persistence granularity: IPv4 the mask in host order (0xffffff00); IPv6 the prefix length
	Engine     string // persistence engine, "" or "sip"
	OnePacket  bool
}

// ServerID names a real server within its service; comparable.
type ServerID struct {
	Addr netip.Addr
	Port uint16
}

// ServerSpec is a real server as the user asks for it.
type ServerSpec struct {
	ServerID
	Method  Method
	Weight  int32
	Upper   uint32 // 0: no limit
	Lower   uint32
	Tunnel  TunnelType
	TunPort uint16 // GUE, host order
	TunSum  TunnelChecksum
}

// Server flags (Server.Flags).
const (
	ServerAvailable uint32 = 1 << 0 // linked in a service
	ServerOverload  uint32 = 1 << 1 // upper threshold reached
)

// Server is a real server's slot: fixed size, off-heap, numbered for as long as any connection refers to it. Identity
// and settings are written by the control path alone; Active, Inactive, Persistent and the overload bit by workers.
// Every field below Weight is accessed with sync/atomic once published.
type Server struct {
	// first line: identity and settings; writer: control
	Addr     packet.Addr
	Port     uint16
	Family   uint8
	Protocol uint8
	Number   uint32 // own slot number, 1…
	Service  uint32 // number of the service it belongs, or belonged, to
	Mark     uint32
	VAddr    packet.Addr // the service's address, for reviving a removed server
	VPort    uint16
	SFamily  uint8
	State    uint8 // slot state: free, linked, trash; see slots.go
	Removed  int64 // clock.Time of removal

	// second line: what schedulers read
	Weight     int32 // 0 = quiesced
	LastWeight int32 // last weight that was not 0
	Upper      uint32
	Lower      uint32
	Flags      uint32 // Server…; CAS
	Active     int32  // connections not FlagInactive; add
	Inactive   int32  // other connections, templates not counted; add
	Persistent int32  // templates; add
	Forward    uint32 // Method, TunnelType and TunnelChecksum, a byte each from the lowest
	TunPort    uint32 // GUE, host order
	Watch      uint32 // slot number of the anchor that hears of falling loads; 0: none. See watch.go
	Changed    uint32 // 1: on the anchor's stack; CAS
	NextChange uint32 // next on the stack; of an anchor: the first
	Place      uint32 // index in the service's list; writer: the scheduler
	_          [8]byte
}

// Request is what a scheduler may look at for a new connection. Addresses and ports are the packet's.
type Request struct {
	Client, Dst         packet.Addr
	ClientPort, DstPort uint16
	Protocol            uint8
	Family              uint8 // of the service
	Flags               SchedFlags
	Now                 int64 // clock.Time
}

// Event says why Scheduler.Update is called.
type Event uint8

const (
	Init        Event = iota // the scheduler was just made
	ServerAdded              // subject was inserted at the head of the list
	ServerRemoved
	ServerEdited
)

// Scheduler picks the real server of a new connection. Table serialises the calls of one scheduler; an implementation
// needs no lock, must not allocate in Schedule, and keeps the list it was given until the next Update.
type Scheduler interface {
	// Update gives the service's servers, head of the list (latest added) first.
	Update(servers []*Server, ev Event, subject *Server)
	// Schedule returns the server of a new connection, or nil.
	Schedule(r *Request) *Server
}

// Stats are the counts of a server, a service or the whole table.
type Stats struct{ Conns, InPkts, OutPkts, InBytes, OutBytes uint64 }

// Timeouts that ipvsadm --set changes, in seconds.
type Timeouts struct{ TCP, TCPFin, UDP uint32 }

// DefaultTimeouts are LVS's.
var DefaultTimeouts = Timeouts{900, 120, 300}

// Mark gives packets a firewall mark by what they are addressed to. Zero fields match anything; the first that matches
// wins.
type Mark struct {
	Mark        uint32
	Destination netip.Prefix // invalid: any
	Protocol    uint8
	Ports       []uint16 // host order; empty: any
}
