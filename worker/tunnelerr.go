package worker

import (
	"encoding/binary"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/modes"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// icmpFromTunnel handles an IPv4 error about one of the director's own tunnel packets: it answers the client as if the
// director were the router (spec/connections.md 9.5). False: the message is about something else.
func (w *Worker) icmpFromTunnel(k *pkt) bool {
	if w.snap.Net.Route(k.key.Dst).Kind != neigh.LocalAddr {
		return false
	}
	if k.v6() {
		w.learnTooBig(k)
		return false // LVS relays errors of IPv4 tunnels alone; the kernel's stack takes the rest
	}
	outer := k.buf[k.l4+8 : k.end]
	if len(outer) < 20 || outer[0]>>4 != 4 {
		return false
	}
	ihl := int(outer[0]&15) * 4
	if ihl < 20 || len(outer) < ihl {
		return false
	}
	end := packet.AddrFrom4(outer[16:20])
	typ, port, inner, ok := decapsulate(outer[9], outer[ihl:])
	if !ok {
		return false
	}
	var q pkt
	q.buf, q.l3 = k.buf, k.end-len(inner)
	if len(inner) < 20 || inner[0]>>4 != 4 || !quotedTuple(inner, &q.key) {
		return false
	}
	ref, dir := w.flows.Lookup(&q.key)
	if ref == 0 || dir != flow.In {
		return false
	}
	c := w.flows.Conn(ref)
	t := w.snap.target(c.Server)
	if service.Method(c.Method()) != service.Tunnel || c.Dest != end || t.tunnel != typ || typ == service.GUE && t.tunPort != port {
		return false
	}
	if !modes.ICMPChecksumOK(k.ip(), k.l4-k.l3) {
		w.dispose(k, perf.BadICMPChecksum)
		return true
	}
	code, info := k.buf[k.l4+1], binary.BigEndian.Uint32(k.buf[k.l4+4:])
	if k.buf[k.l4] == icmpUnreachable && code == icmpFragNeeded {
		r := w.snap.Net.Route(end)
		known := min(int(r.MTU), w.paths.get(end, w.now))
		w.paths.learn(end, int(info&0xffff), w.now)
		overhead := modes.Overhead(false, typ, t.tunSum)
		if inner[6]&0x40 == 0 {
			w.consume(k)
			return true
		}
		if known > 68+overhead {
			known -= overhead
		}
		info = uint32(known)
	}
	// The kernel counts what it relays, which is the quoted packet alone by then, and the error that it makes of it.
	w.countOut(c, len(inner))
	w.countError(c, w.sendError(q.key.Src, q.key.Dst, inner, k.buf[k.l4], code, info))
	w.consume(k)
	return true
}

// leastPMTU6 is the smallest path MTU that IPv6 knows (RFC 8200 5).
const leastPMTU6 = 1280

// learnTooBig notes the path MTU of a packet-too-big about one of the director's own IPv6 tunnel packets: the next packet
// that is too long for it is answered by the director itself.
func (w *Worker) learnTooBig(k *pkt) {
	outer := k.buf[k.l4+8 : k.end]
	if k.buf[k.l4] != icmp6TooBig || len(outer) < 40 || outer[0]>>4 != 6 || packet.AddrFrom16(outer[8:24]) != k.key.Dst {
		return
	}
	end := packet.AddrFrom16(outer[24:40])
	for i := range w.targets {
		if t := &w.targets[i]; t.method == service.Tunnel && t.addr == end {
			if modes.ICMPChecksumOK(k.ip(), k.l4-k.l3) {
				w.paths.learn(end, max(int(binary.BigEndian.Uint32(k.buf[k.l4+4:])), leastPMTU6), w.now)
			}
			return
		}
	}
}

// consume frees a packet that has done its work.
func (w *Worker) consume(k *pkt) {
	w.stats.Consumed(uint64(k.frames))
	w.release(k)
}

// decapsulate finds the original packet behind a tunnel's headers.
func decapsulate(proto uint8, b []byte) (typ service.TunnelType, port uint16, inner []byte, ok bool) {
	switch proto {
	case packet.ProtoIPIP:
		return service.IPIP, 0, b, true
	case packet.ProtoUDP:
		if len(b) < 12 || b[8]&0xe0 != 0 || b[9] != packet.ProtoIPIP {
			return 0, 0, nil, false
		}
		n := 12 + int(b[8]&0x1f)*4
		if len(b) < n {
			return 0, 0, nil, false
		}
		return service.GUE, binary.BigEndian.Uint16(b[2:]), b[n:], true
	case packet.ProtoGRE:
		if len(b) < 4 || binary.BigEndian.Uint16(b)&^0x8000 != 0 || binary.BigEndian.Uint16(b[2:]) != packet.EtherIPv4 {
			return 0, 0, nil, false
		}
		n := 4
		if b[0]&0x80 != 0 {
			n = 8
		}
		if len(b) < n {
			return 0, 0, nil, false
		}
		return service.GRE, 0, b[n:], true
	}
	return 0, 0, nil, false
}

// quotedTuple reads addresses and ports of an IPv4 packet that may be cut off.
func quotedTuple(b []byte, key *packet.Tuple) bool {
	ihl := int(b[0]&15) * 4
	if ihl < 20 || len(b) < ihl+4 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return false
	}
	*key = packet.Tuple{
		Src: packet.AddrFrom4(b[12:16]), Dst: packet.AddrFrom4(b[16:20]), SrcPort: binary.BigEndian.Uint16(b[ihl:]),
		DstPort: binary.BigEndian.Uint16(b[ihl+2:]), Proto: b[9], Family: 4,
	}
	return true
}
