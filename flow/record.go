package flow

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/packet"
)

// Ref is a record's number in its table. 0 is none; the first record is 1.
type Ref uint32

// Dir is the half of a connection that a packet belongs to.
type Dir uint8

const (
	In  Dir = 0 // client to server: the packet carries caddr:cport > vaddr:vport
	Out Dir = 1 // server to client: daddr:dport > caddr:cport (NAT), found by the record's second index word
)

// Conn flags. The low bits are LVS's own values (spec/connections.md 2.4): they go on the wire in sync messages.
const (
	FlagMethodMask  = 0x0007 // forwarding method: service.Method
	FlagSync        = 0x0020
	FlagHashed      = 0x0040
	FlagNoOutput    = 0x0080 // no reply has been seen: the INPUT_ONLY rows apply
	FlagInactive    = 0x0100 // counted as inactive at its server
	FlagOutSeq      = 0x0200
	FlagInSeq       = 0x0400
	FlagNoCPort     = 0x0800
	FlagTemplate    = 0x1000
	FlagOnePacket   = 0x2000
	FlagControlled  = 0x0000_8000 // own, free in LVS: hangs on another connection, or did; it says so in the first line
	FlagIPv6        = 0x0001_0000 // family of client and virtual address (own: not LVS's)
	FlagDropChain   = 0x0002_0000 // own: freed by a defence or flush ("timeout 0" of spec/connections.md 2.6)
	FlagAssured     = 0x0004_0000 // own: the template's ASSURED bit
	FlagTunnelOther = 0x0008_0000 // own: the server's family differs from the client's
	flagRekeying    = 0x0010_0000 // own: a Rekey is under way; others keep off

	FlagReplied = 0x0040_0000 // own: the server has answered; the answers that open a connection go the slow way, where it is set
	FlagHelper  = 0x0020_0000 // own: an application helper reads the connection's payload (FTP over NAT)

	FlagElsewhere = 0x0080_0000 // own: Dest is not the server's address (FTP data of a server with several)

	// The protocol's state (tcp.go, sctp.go) is the top byte of the same word, so that a transition and what follows
	// from it (FlagInactive, FlagNoOutput) are one compare-and-swap, and the counters move exactly once.
	StateShift = 24
)

// Conn is one connection's record: 128 bytes, two cache lines, no pointers. The first line is all that an established
// packet touches.
//
//	0            16           32     34     36     38    39    40       44       48         56     60      64
//	+------------+------------+------+------+------+-----+-----+--------+--------+----------+------+-------+
//	| Client     | Virtual    |CPort |VPort |DPort |Proto|fam. | Server | Flags  | Deadline | Hop  |InPkts |
//	+------------+------------+------+------+------+-----+-----+--------+--------+----------+------+-------+
//	64           80           88       92        96         100         104      108        112    120    128
//	+------------+------------+--------+---------+----------+-----------+--------+----------+------+------+
//	| Dest       | Timeout    |Control |NControl | Service  | Mark      | -      | Extra    |Create| Seq  |
//	+------------+------------+--------+---------+----------+-----------+--------+----------+------+------+
//
// Written by whichever worker handles one of the connection's packets (a NAT connection's halves may meet different
// workers), so Flags (with the state), Deadline, Hop and the counters are accessed atomically or through internal/store:
// the last writer wins, and each of them is right on its own. Client … DPort, Proto, Server, Dest and Service are written
// once, before the record is published by the index word; the ports alone may change later, by Rekey: whoever may meet
// that reads them by InKey or OutKey.
// Ports are in host order.
type Conn struct {
	Client   packet.Addr // caddr; of a template: masked
	Virtual  packet.Addr // vaddr: what the packet was addressed to; of a mark's template: the mark, see Mark
	CPort    uint16
	VPort    uint16
	DPort    uint16 // the server's port for this connection
	Proto    uint8  // IP protocol number; 0 for a mark's template
	fam      uint8  // 4 or 6, set by Insert from FlagIPv6: part of the key's last word
	Server   uint32 // service.Slot number of the real server; 0: none (bypass, not yet bound)
	Flags    uint32 // Flag… and the state in the top byte; CAS
	Deadline int64  // clock.Time at which the connection expires
	Hop      uint32 // next hop towards the client (NAT replies): worker's hop word, 0 = not resolved yet
	InPkts   uint32 // packets client to server, for sync and the defences; wraps

	Dest     packet.Addr // daddr: the server's address, kept here too because the slot may be reused after removal
	Timeout  int64       // the timeout last set, nanoseconds; of a template: the service's persistence timeout
	Control  Ref         // the template or control connection that this one hangs on; 0: none
	NControl int32       // connections that hang on this one; while > 0 it cannot be removed; see Attach
	Service  uint32      // number of the service that made it; 0: none
	Mark     uint32      // firewall mark of a mark's template or connection
	_        uint32
	Extra    uint32 // of a template: its first side record, see engine.go; else the helper's: see worker's ftp.go; 0: none
	Created  int64  // clock.Time of creation
	Seq      uint64 // sequence adjustment of a helper's connection, see worker's ftpseq.go; accessed atomically
}

// Key identifies a direction of a connection: the packet's own source and destination.
type Key = packet.Tuple

// LoadFlags reads Flags; any worker may be writing.
func (c *Conn) LoadFlags() uint32 { return atomic.LoadUint32(&c.Flags) }

// Controller is the template or control connection that this one hangs on, 0 if none; it may be released at any time.
func (c *Conn) Controller() Ref { return Ref(atomic.LoadUint32((*uint32)(&c.Control))) }

// State is the protocol's state number.
func (c *Conn) State() uint8 { return uint8(c.LoadFlags() >> StateShift) }

// CASFlags replaces the flags and state word if nobody changed it since it was read as old.
func (c *Conn) CASFlags(old, new uint32) bool { return atomic.CompareAndSwapUint32(&c.Flags, old, new) }

// Method is the forwarding method, as LVS numbers it.
func (c *Conn) Method() uint8 { return uint8(c.LoadFlags() & FlagMethodMask) }

// IsTemplate tells whether this is a persistence template.
func (c *Conn) IsTemplate() bool { return c.LoadFlags()&FlagTemplate != 0 }

// InKey is the key under which a client's packets find the connection.
func (c *Conn) InKey() Key {
	p := atomic.LoadUint64(portsWord(c))
	return Key{Src: c.Client, Dst: c.Virtual, SrcPort: uint16(p), DstPort: uint16(p >> 16), Proto: uint8(p >> 48), Family: c.family()}
}

// OutKey is the key under which a NAT server's packets find the connection.
func (c *Conn) OutKey() Key {
	p := atomic.LoadUint64(portsWord(c))
	return Key{Src: c.Dest, Dst: c.Client, SrcPort: uint16(p >> 32), DstPort: uint16(p), Proto: uint8(p >> 48), Family: c.family()}
}

func (c *Conn) family() uint8 {
	if c.LoadFlags()&FlagIPv6 != 0 {
		return 6
	}
	return 4
}
