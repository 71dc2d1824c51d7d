package worker

import (
	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/modes"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// portISAKMP is the port, on both sides, of the IKE connection that AH and ESP follow.
const portISAKMP = 500

// isIPsec tells whether a protocol has no ports and follows an IKE connection instead (spec/connections.md 2.3).
func isIPsec(proto uint8) bool { return proto == packet.ProtoESP || proto == packet.ProtoAH }

// ikeKey is the key of the IKE connection between the ends of k.
func ikeKey(k *packet.Tuple) packet.Tuple {
	return packet.Tuple{Src: k.Src, Dst: k.Dst, SrcPort: portISAKMP, DstPort: portISAKMP, Proto: packet.ProtoUDP, Family: k.Family}
}

// ipsec takes an AH or ESP packet. It belongs to its ends' IKE connection: there it is counted, re-arms the timer and is
// forwarded, with nothing rewritten but an address. It never opens a connection; without one it is the kernel's.
func (w *Worker) ipsec(k *pkt) {
	ike := ikeKey(&k.key)
	ref, dir := w.flows.Lookup(&ike)
	switch {
	case w.snap.Tunables.BackupOnly && (ref == 0 || dir == flow.In):
		if ref != 0 || !w.foreignReply(k, &ike) {
			w.toKernel(k, perf.PassBackup)
		}
	case ref == 0:
		if !w.foreignReply(k, &ike) {
			w.toKernel(k, perf.PassProtocol)
		}
	case dir == flow.Out:
		w.reply(k, ref, w.flows.Conn(ref))
	default:
		c := w.flows.Conn(ref)
		switch w.admit(k, ref, c) {
		case belongs:
			w.deliver(k, ref, c)
		case reschedule:
			w.toKernel(k, perf.PassProtocol)
		}
	}
}

// translateIn rewrites a client's packet for its NAT server: address and port, or the address alone where there are no
// ports. The TTL goes down by one.
func (k *pkt) translateIn(c *flow.Conn) {
	if isIPsec(k.key.Proto) {
		modes.AddressIn(k.ip(), c.Dest)
		return
	}
	modes.NATIn(k.ip(), k.l4-k.l3, k.key.Proto, k.key.Dst, c.Dest, k.key.DstPort, c.DPort)
}

// translateOut is translateIn for a server's packet.
func (k *pkt) translateOut(c *flow.Conn) {
	if isIPsec(k.key.Proto) {
		modes.AddressOut(k.ip(), c.Virtual)
		return
	}
	modes.NATOut(k.ip(), k.l4-k.l3, k.key.Proto, k.key.Src, c.Virtual, k.key.SrcPort, c.VPort)
}

// untranslate gives a packet that was rewritten for NAT its own address and port back, as its sender knows it; the TTL stays.
func (k *pkt) untranslate(u *undo) {
	switch {
	case u.method != service.NAT:
	case isIPsec(k.key.Proto) && u.reply:
		modes.ReplaceAddress(k.ip(), true, k.key.Src)
	case isIPsec(k.key.Proto):
		modes.ReplaceAddress(k.ip(), false, k.key.Dst)
	case u.reply:
		modes.ReplaceSrc(k.ip(), k.l4-k.l3, k.key.Proto, u.addr, k.key.Src, u.port, k.key.SrcPort)
	default:
		modes.ReplaceDst(k.ip(), k.l4-k.l3, k.key.Proto, u.addr, k.key.Dst, u.port, k.key.DstPort)
	}
}
