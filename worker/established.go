package worker

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/modes"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
)

// unusualFlags are those that must be set (FlagHashed) or clear (the others) for a connection to go the short way.
const unusualFlags = flow.FlagHashed | flow.FlagNoCPort | flow.FlagHelper | flow.FlagElsewhere

// workerSkew is by how much the clocks of workers may differ, each being read once a round: a connection whose directions
// meet different workers keeps the later deadline.
const workerSkew = int64(2 * clock.Millisecond)

// established forwards a packet of a known connection: track its state, count, rewrite, queue. False means that something
// about it is unusual and nothing has been done; the packet then takes the slow way (unusual.go), which does the same
// thing with all the exceptions.
//
//fastlb:hot
func (w *Worker) established(pr *flow.Probe, p *packet.Parsed, d *ring.Desc) bool {
	c := w.flows.Conn(pr.Ref)
	flags := c.LoadFlags()
	if p.TTL <= 1 || flags&unusualFlags != flow.FlagHashed {
		return false
	}
	if pr.Dir == flow.Out {
		return w.establishedOut(c, flags, &pr.Key, p, d)
	}
	targets, server := w.targets, c.Server
	if uint(server) >= uint(len(targets)) {
		return false
	}
	t := &targets[server]
	method := service.Method(flags & flow.FlagMethodMask)
	if p.Len > t.limit || t.method != method {
		return false
	}
	deadline := w.now
	switch pr.Key.Proto {
	case packet.ProtoTCP:
		// An acknowledgement in ESTABLISHED, which is nearly all there is, needs no look at the tables.
		state := uint8(flags >> flow.StateShift)
		if state != flow.TCPEstablished || p.Flags&(packet.SYN|packet.FIN|packet.RST|packet.ACK) != packet.ACK {
			row, _ := flow.RowOf(flow.In, flags)
			if p.Flags&packet.SYN != 0 || state >= flow.TCPStates || flow.NextTCP(row, p.Flags, state, w.snap.secure) != state {
				return false
			}
		}
		deadline += w.snap.Timeouts.TCP[state]
	case packet.ProtoUDP:
		deadline += w.snap.Timeouts.UDP
	default:
		return false
	}
	if was := atomic.LoadInt64(&c.Deadline); deadline < was {
		if was-deadline > workerSkew {
			return false // --set made the timeout shorter: the sweep has to know
		}
		deadline = was
	}
	if method == service.Tunnel && !w.paths.clear(p.Len) {
		return false
	}
	w.flows.Touch(c, deadline)
	w.countPacket(c)
	w.lines[server].In(p.Len)
	at := d.Addr + uint64(p.L3)
	switch {
	case method == service.DR:
		modes.DR(view[[20]byte](w.mem, at)[:])
	case method == service.Tunnel:
		w.establishedTunnel(t, &pr.Key, p, d)
		return true
	case plain4(&pr.Key, p):
		modes.NATIn4(view[[40]byte](w.mem, at), pr.Key.Dst, t.addr, pr.Key.DstPort, c.DPort)
	default:
		modes.NATIn(w.mem[at:at+uint64(p.Len)], int(p.L4-p.L3), pr.Key.Proto, pr.Key.Dst, t.addr, pr.Key.DstPort, c.DPort)
	}
	if t.tagged {
		w.putTagged(&w.snap.egress[t.hop], pr.Key.Family, p, d)
		return true
	}
	// The two bytes before an IP header are its ethertype already.
	h := view[[12]byte](w.mem, at-14)
	t.link.put(h)
	w.queue(t.port, at-14, p.Len+14)
	return true
}

// plain4 tells whether a packet is TCP in IPv4 without options.
func plain4(k *packet.Tuple, p *packet.Parsed) bool {
	return k.Family == 4 && k.Proto == packet.ProtoTCP && p.L4-p.L3 == 20
}

// putTagged queues a packet that leaves in a VLAN, rewritten.
func (w *Worker) putTagged(e *egress, family uint8, p *packet.Parsed, d *ring.Desc) {
	base := frameBase(d.Addr)
	l3 := int(d.Addr-base) + int(p.L3)
	start := e.put(w.mem[base:base+ring.FrameSize], l3, family == 6)
	w.queue(e.port, base+uint64(start), uint32(l3-start)+p.Len)
}

// establishedTunnel encapsulates and queues a packet.
//
//fastlb:hot
func (w *Worker) establishedTunnel(t *target, k *packet.Tuple, p *packet.Parsed, d *ring.Desc) {
	if t.plain && k.Family == 4 {
		at := d.Addr + uint64(p.L3) - 34
		h := view[[54]byte](w.mem, at)
		t.outer.Put((*[40]byte)(h[14:]), p.Len, w.nextID(), w.snap.Tunables.PMTUDisc)
		t.link.put((*[12]byte)(h[:]))
		h[12], h[13] = 0x08, 0x00
		w.queue(t.port, at, p.Len+34)
		return
	}
	base := frameBase(d.Addr)
	buf := w.mem[base : base+ring.FrameSize]
	l3 := int(d.Addr-base) + int(p.L3)
	end := l3 + int(p.Len)
	l3 = w.encapsulate(buf, l3, end, t, t.source, k)
	v6 := !t.addr.Is4()
	if t.tagged {
		start := w.snap.egress[t.hop].put(buf, l3, v6)
		w.queue(t.port, base+uint64(start), uint32(end-start))
		return
	}
	h := (*[14]byte)(buf[l3-14:])
	t.link.put((*[12]byte)(h[:]))
	if v6 {
		h[12], h[13] = 0x86, 0xdd
	} else {
		h[12], h[13] = 0x08, 0x00
	}
	w.queue(t.port, base+uint64(l3-14), uint32(end-l3+14))
}

// establishedOut is established for a NAT server's reply.
//
//fastlb:hot
func (w *Worker) establishedOut(c *flow.Conn, flags uint32, k *packet.Tuple, p *packet.Parsed, d *ring.Desc) bool {
	e := &w.snap.egress[w.cachedHop(atomic.LoadUint32(&c.Hop))]
	if !e.ok || p.Len > e.mtu || flags&flow.FlagMethodMask != uint32(service.NAT) {
		return false
	}
	targets, server := w.targets, c.Server
	if uint(server) >= uint(len(targets)) || !targets[server].avail {
		return false // its server was removed, perhaps with the family's last service
	}
	deadline := w.now
	switch k.Proto {
	case packet.ProtoTCP:
		state := uint8(flags >> flow.StateShift)
		if state != flow.TCPEstablished || p.Flags&(packet.SYN|packet.FIN|packet.RST|packet.ACK) != packet.ACK {
			if p.Flags&packet.SYN != 0 || state >= flow.TCPStates || flow.NextTCP(flow.Output, p.Flags, state, w.snap.secure) != state {
				return false
			}
		}
		deadline += w.snap.Timeouts.TCP[state]
	case packet.ProtoUDP:
		if flags&flow.FlagControlled != 0 {
			return false // an answer makes the controlling template assured
		}
		deadline += w.snap.Timeouts.UDP
	default:
		return false
	}
	if was := atomic.LoadInt64(&c.Deadline); deadline < was {
		if was-deadline > workerSkew {
			return false // --set made the timeout shorter: the sweep has to know
		}
		deadline = was
	}
	w.flows.Touch(c, deadline)
	w.lines[server].Out(p.Len)
	at := d.Addr + uint64(p.L3)
	if plain4(k, p) {
		modes.NATOut4(view[[40]byte](w.mem, at), k.Src, c.Virtual, k.SrcPort, c.VPort)
	} else {
		modes.NATOut(w.mem[at:at+uint64(p.Len)], int(p.L4-p.L3), k.Proto, k.Src, c.Virtual, k.SrcPort, c.VPort)
	}
	if e.l2len != 12 {
		w.putTagged(e, k.Family, p, d)
		return true
	}
	h := view[[12]byte](w.mem, at-14)
	e.link.put(h)
	w.queue(e.port, at-14, p.Len+14)
	return true
}

// A connection's hop word is the hop's number in the upper 19 bits and the route generation that it was looked up in: a
// connection would have to be silent over a multiple of 8191 changes of routes to meet its own generation again.
const (
	hopBits   = 13
	hopMax    = 1<<(32-hopBits) - 1
	hopRoutes = 1<<hopBits - 1 // mask of the generation
)

// cachedHop is the hop of a connection's word, 0 if it must be looked up again.
//
//fastlb:hot
func (w *Worker) cachedHop(word uint32) uint32 {
	id := word >> hopBits
	if word&hopRoutes != w.snap.generation || id >= uint32(len(w.snap.egress)) {
		return 0
	}
	return id
}

// encapsulate puts the tunnel's headers in front of the packet at buf[l3:end].
//
//fastlb:hot
func (w *Worker) encapsulate(buf []byte, l3, end int, t *target, source packet.Addr, k *packet.Tuple) int {
	o := modes.Outer{
		Source: source, Dest: t.addr, Type: t.tunnel, Sum: t.tunSum, Port: t.tunPort,
		ID: w.nextID(), PMTUDisc: w.snap.Tunables.PMTUDisc,
	}
	if o.Type == service.GUE {
		o.SourcePort = gueSourcePort(k)
	}
	return modes.Tunnel(buf, l3, end, &o)
}

// gueSourcePort gives a flow one UDP source port in the local port range, 32768 to 60999 (spec/forwarding.md 6.4: any
// stable hash of the inner addresses and ports serves).
func gueSourcePort(k *packet.Tuple) uint16 {
	const low, high = 32768, 60999
	h := (k.Src.Hi ^ k.Dst.Hi<<1 ^ k.Src.Lo ^ k.Dst.Lo<<1) * 0x9e3779b97f4a7c15
	h ^= uint64(k.SrcPort)<<32 | uint64(k.DstPort)<<16 | uint64(k.Proto)
	h *= 0xff51afd7ed558ccd
	return uint16(low + (h>>32)*(high-low)>>32)
}
