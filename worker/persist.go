package worker

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

const portFTP = 21

// openPersistent makes a connection of a persistent service through the client's template (spec/connections.md 5).
func (w *Worker) openPersistent(k *pkt, svc *service.Service) (flow.Ref, perf.Reason) {
	var data []byte
	if svc.Engine != "" {
		if data = engineData(k); data == nil {
			return 0, perf.FatalSchedule
		}
	}
	key, dport := templateKey(k, svc)
	template := w.findTemplate(&key, data)
	if template != 0 && !w.usableTemplate(template) {
		w.invalidate(template)
		template = 0
	}
	var server *service.Server
	if template == 0 {
		if server = w.pick(k, svc); server == nil {
			return 0, perf.NoServer
		}
		port := server.Port
		if !dport {
			port = 0
		}
		var reason perf.Reason
		if template, reason = w.newTemplate(&key, svc, server, port, data); template == 0 {
			return 0, reason
		}
	}
	t := w.flows.Conn(template)
	if server = w.slots.Get(t.Server); server == nil || !server.Available() { // another worker is invalidating it
		return 0, perf.ServerRemoved
	}
	port := k.key.DstPort
	if port == svc.Port && server.Port != 0 {
		port = server.Port
	}
	ref, reason := w.connect(k, svc, server, port, template)
	w.rearm(template, t, atomic.LoadInt64(&t.Timeout))
	return ref, reason
}

// templateKey is the template's key: masked client, and as much of the packet's destination as the service's kind shares
// (spec/connections.md 5.2). withPort: the template keeps the server's port.
func templateKey(k *pkt, svc *service.Service) (key packet.Tuple, withPort bool) {
	key = packet.Tuple{Src: mask(k.key.Src, svc.Netmask), Dst: k.key.Dst, Proto: k.key.Proto, Family: k.key.Family}
	switch {
	case k.key.DstPort == svc.Port && svc.Port != portFTP:
		key.DstPort = k.key.DstPort
		return key, true
	case svc.Mark != 0:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], svc.Mark)
		key.Proto, key.Dst = 0, packet.AddrFrom4(b[:])
	}
	return key, false
}

// mask is the client as persistence sees it: IPv4 masked with a netmask in host order, IPv6 cut to a prefix length.
func mask(a packet.Addr, m uint32) packet.Addr {
	if a.Is4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], a.V4()&m)
		return packet.AddrFrom4(b[:])
	}
	b := a.As16()
	for i := range b {
		switch bits := int(m) - i*8; {
		case bits <= 0:
			b[i] = 0
		case bits < 8:
			b[i] &= 0xff << (8 - bits)
		}
	}
	return packet.AddrFrom16(b[:])
}

// usableTemplate tells whether a template still leads somewhere: overload and weight 0 do not count, unless
// expire_quiescent_template says so (spec/connections.md 5.3).
func (w *Worker) usableTemplate(ref flow.Ref) bool {
	s := w.slots.Get(w.flows.Conn(ref).Server)
	return s != nil && s.Available() && !(w.snap.Tunables.ExpireQuiescent && s.LoadWeight() == 0)
}

// invalidate moves a template to a key under which nobody looks. It stays listed until its time is up: its virtual port as
// it was, its server's port as 65535 (recorded in persist/removed). The client's port, 0 in every other template, is what
// makes the key another one; listings show 0.
func (w *Worker) invalidate(ref flow.Ref) {
	w.flows.Rekey(w.id, ref, func(c *flow.Conn) { c.CPort, c.DPort = 0xffff, 0xffff })
}

// enginePlaces is how many templates of one client whose engine's data clash can stand in the table.
const enginePlaces = 8

// enginePort is the client's port in the key of a template with engine data: a hash of the data, or where that is taken,
// another. It is neither 0, which other templates have, nor 65535, which invalid ones have. Listings show 0.
func enginePort(hash uint64, place int) uint16 {
	step := hash>>32 | 1
	return uint16((uint32(hash)+uint32(place)*uint32(step))%0xfffe) + 1
}

// findTemplate finds a template by its key and, if it is not nil, by what the service's engine goes by.
func (w *Worker) findTemplate(key *packet.Tuple, data []byte) flow.Ref {
	if data == nil {
		return w.flows.LookupTemplate(key)
	}
	hash, k := w.flows.HashEngineData(data), *key
	for i := range enginePlaces {
		k.SrcPort = enginePort(hash, i)
		if ref := w.flows.LookupTemplate(&k); ref != 0 && w.flows.EngineDataIs(ref, data) {
			return ref
		}
	}
	return 0
}

// newTemplate makes and publishes a template, or finds the equal one that another worker has just published.
func (w *Worker) newTemplate(key *packet.Tuple, svc *service.Service, server *service.Server, dport uint16, data []byte) (flow.Ref, perf.Reason) {
	if data == nil {
		return w.putTemplate(key, svc, server, dport, nil)
	}
	hash, k := w.flows.HashEngineData(data), *key
	for i := range enginePlaces {
		k.SrcPort = enginePort(hash, i)
		if w.flows.LookupTemplate(&k) != 0 {
			continue // somebody else's, or it would have been found
		}
		ref, reason := w.putTemplate(&k, svc, server, dport, data)
		if ref == 0 || w.flows.EngineDataIs(ref, data) {
			return ref, reason
		}
	}
	w.stats.Refused()
	return 0, perf.SlotsFull
}

// putTemplate makes and publishes a template under a key; it returns the one that stands there already if there is one.
func (w *Worker) putTemplate(key *packet.Tuple, svc *service.Service, server *service.Server, dport uint16, data []byte) (flow.Ref, perf.Reason) {
	ref := w.flows.Alloc(w.id)
	if ref == 0 {
		w.stats.Refused()
		return 0, perf.TableFull
	}
	timeout := int64(svc.Timeout) * 1e9
	flags := uint32(server.LoadMethod()) | flow.FlagTemplate | flow.FlagInactive
	if key.Family == 6 {
		flags |= flow.FlagIPv6
	}
	if server.Family != key.Family {
		flags |= flow.FlagTunnelOther
	}
	*w.flows.Conn(ref) = flow.Conn{
		Client: key.Src, Virtual: key.Dst, CPort: key.SrcPort, VPort: key.DstPort, DPort: dport, Proto: key.Proto, Server: server.Number,
		Dest: server.Addr, Service: svc.Number, Mark: svc.Mark, Deadline: w.now + timeout, Timeout: timeout, Created: w.now, Flags: flags,
	}
	if data != nil && !w.flows.SetEngineData(w.id, ref, data) {
		w.flows.Free(w.id, ref)
		w.stats.Refused()
		return 0, perf.SlotsFull
	}
	server.Bind(true)
	winner, won := w.flows.Insert(w.id, ref)
	if won {
		return ref, 0
	}
	server.Unbind(true, false)
	if winner == 0 {
		w.stats.Refused()
		return 0, perf.TableFull
	}
	return winner, 0
}
