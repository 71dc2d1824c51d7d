package worker

import (
	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// schedule opens a connection for a packet that has none, or says whose packet it is (spec/connections.md 3).
func (w *Worker) schedule(k *pkt) {
	w.inOnePiece(k)
	services := w.snap.Services
	mark := services.MarkOf(k.key.Dst, k.key.Proto, k.key.DstPort)
	svc := services.Lookup(mark, k.key.Family, k.key.Proto, k.key.Dst, k.key.DstPort)
	if svc == nil {
		w.toKernel(k, perf.PassNoService)
		return
	}
	if !w.mayOpen(k) {
		w.toKernel(k, perf.PassNotNew)
		return
	}
	if !loopback(k.key.Src) && singleHost(k.key.Src) && w.defence.drops(&w.snap.Tunables, w.now) {
		w.dispose(k, perf.DefenceDropPacket)
		return
	}
	if k.key.SrcPort == 20 {
		w.toKernel(k, perf.PassNotNew)
		return
	}
	if loopback(k.key.Src) {
		w.dispose(k, perf.LoopbackSource)
		return
	}
	if !singleHost(k.key.Src) { // nobody to answer to; the kernel calls it martian
		w.toKernel(k, perf.PassNoService)
		return
	}
	var ref flow.Ref
	var reason perf.Reason
	if svc.Persistent {
		ref, reason = w.openPersistent(k, svc)
	} else {
		ref, reason = w.open(k, svc)
	}
	switch {
	case ref != 0:
		c := w.flows.Conn(ref)
		w.deliver(k, ref, c)
		w.forgetOnePacket(ref, c)
	case reason == perf.NoServer:
		w.leave(k, svc, mark)
	default:
		w.dispose(k, reason)
	}
}

// mayOpen tells whether the packet may open a connection (spec/connections.md 3.1).
func (w *Worker) mayOpen(k *pkt) bool {
	switch k.key.Proto {
	case packet.ProtoTCP:
		return (k.p.Flags&packet.SYN != 0 || w.snap.Tunables.SloppyTCP) && k.p.Flags&packet.RST == 0
	case packet.ProtoUDP:
		return true
	case packet.ProtoSCTP:
		if k.l4+12 >= k.end {
			return false
		}
		chunk := k.buf[k.l4+12]
		return chunk == 1 || chunk != 6 && w.snap.Tunables.SloppySCTP
	}
	return false
}

// open makes a connection of a service without persistence.
func (w *Worker) open(k *pkt, svc *service.Service) (flow.Ref, perf.Reason) {
	if svc.Mark == 0 && k.key.DstPort != svc.Port {
		return 0, perf.NoServer // FTP data, or a port-0 service: only with persistence
	}
	server := w.pick(k, svc)
	if server == nil {
		return 0, perf.NoServer
	}
	dport := server.Port
	if dport == 0 {
		dport = k.key.DstPort
	}
	return w.connect(k, svc, server, dport, 0)
}

// pick asks the service's scheduler. The request is the worker's own, so that nothing escapes to the heap.
func (w *Worker) pick(k *pkt, svc *service.Service) *service.Server {
	w.request = service.Request{
		Client: k.key.Src, Dst: k.key.Dst, ClientPort: k.key.SrcPort, DstPort: k.key.DstPort, Protocol: k.key.Proto, Now: w.now,
	}
	return svc.Pick(&w.request)
}

// connect makes and publishes the connection of a client packet to a server. control is the template that it hangs on.
// With two workers at it, one connection results, which both get.
func (w *Worker) connect(k *pkt, svc *service.Service, server *service.Server, dport uint16, control flow.Ref) (flow.Ref, perf.Reason) {
	ref := w.flows.Alloc(w.id)
	if ref == 0 {
		w.stats.Refused()
		return 0, perf.TableFull
	}
	c := w.flows.Conn(ref)
	*c = flow.Conn{
		Client: k.key.Src, Virtual: k.key.Dst, CPort: k.key.SrcPort, VPort: k.key.DstPort, DPort: dport, Proto: k.key.Proto,
		Server: server.Number, Dest: server.Addr, Service: svc.Number, Mark: svc.Mark,
		Deadline: w.now + flow.NewTimeout, Timeout: flow.NewTimeout, Created: w.now,
		Flags: w.birthFlags(k, svc, server),
	}
	w.bind(server)
	if control != 0 {
		w.flows.Attach(ref, control)
	}
	winner, won := ref, true
	if c.Flags&flow.FlagOnePacket == 0 {
		winner, won = w.flows.InsertDeferred(w.id, ref)
		w.pending = true
	}
	if won {
		w.counters.Line(w.id, server.Number).Conn()
		return ref, 0
	}
	w.flows.Detach(ref) // the record is still ours to read until this round's end
	w.unbind(server, false, false)
	if winner == 0 {
		w.stats.Refused()
		return 0, perf.TableFull
	}
	return winner, 0
}

// linkPending makes the connection that came last known to its server's answers, before anything of it can leave.
//
//fastlb:hot
func (w *Worker) linkPending() {
	if w.pending {
		w.pending = false
		w.flows.LinkPending(w.id)
	}
}

// birthFlags are a new connection's flags: the server's method, inactive, and no reply seen yet unless it is NAT
// (spec/connections.md 2.4).
func (w *Worker) birthFlags(k *pkt, svc *service.Service, server *service.Server) uint32 {
	flags := uint32(server.LoadMethod()) | flow.FlagInactive
	if flags&flow.FlagMethodMask != uint32(service.NAT) {
		flags |= flow.FlagNoOutput
	}
	if k.key.Family == 6 {
		flags |= flow.FlagIPv6
	}
	if isFTP(k.key.Proto, service.Method(flags&flow.FlagMethodMask), k.key.DstPort) {
		flags |= flow.FlagHelper
	}
	if server.Family != k.key.Family {
		flags |= flow.FlagTunnelOther
	}
	if svc.OnePacket && k.key.Proto == packet.ProtoUDP {
		flags |= flow.FlagOnePacket
	}
	return flags
}

// forgetOnePacket frees a connection that was made for one datagram and never stood in the table; others it leaves alone.
func (w *Worker) forgetOnePacket(ref flow.Ref, c *flow.Conn) {
	if c.LoadFlags()&flow.FlagOnePacket == 0 {
		return
	}
	if s := w.server(c); s != nil {
		w.unbind(s, false, false)
	}
	w.flows.Detach(ref)
	w.flows.Free(w.id, ref)
}

// leave is what happens to a packet for which no server could be had (spec/connections.md 3.4).
func (w *Worker) leave(k *pkt, svc *service.Service, mark uint32) {
	if w.snap.Tunables.CacheBypass && svc.Mark != 0 && w.foreign(k.key.Dst) {
		w.openBypass(k, svc, mark)
		return
	}
	if svc.Port == 21 && svc.Mark == 0 && k.key.DstPort != 21 {
		w.toKernel(k, perf.PassNoServerFTP)
		return
	}
	w.portUnreachable(k, k.key.Dst)
	w.dispose(k, perf.NoServer)
}

// foreign tells whether an address is one host's, and not the director's own.
func (w *Worker) foreign(a packet.Addr) bool {
	return singleHost(a) && !w.snap.Services.HasAddr(a) && w.snap.Net.Route(a).Kind != neigh.LocalAddr
}

// openBypass makes a connection without a server that goes where the packet itself says.
func (w *Worker) openBypass(k *pkt, svc *service.Service, mark uint32) {
	ref := w.flows.Alloc(w.id)
	if ref == 0 {
		w.stats.Refused()
		w.dispose(k, perf.TableFull)
		return
	}
	c := w.flows.Conn(ref)
	flags := uint32(service.Bypass)
	if k.key.Family == 6 {
		flags |= flow.FlagIPv6
	}
	if svc.OnePacket && k.key.Proto == packet.ProtoUDP {
		flags |= flow.FlagOnePacket
	}
	*c = flow.Conn{
		Client: k.key.Src, Virtual: k.key.Dst, CPort: k.key.SrcPort, VPort: k.key.DstPort, Proto: k.key.Proto, Mark: mark,
		Deadline: w.now + flow.NewTimeout, Timeout: flow.NewTimeout, Created: w.now, Flags: flags,
	}
	if flags&flow.FlagOnePacket == 0 {
		if ref, _ = w.flows.Insert(w.id, ref); ref == 0 {
			w.stats.Refused()
			w.dispose(k, perf.TableFull)
			return
		}
		c = w.flows.Conn(ref)
	}
	w.deliver(k, ref, c)
	w.forgetOnePacket(ref, c)
}
