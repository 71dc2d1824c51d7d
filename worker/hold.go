package worker

import (
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// What waits for a next hop's MAC is bounded: so many packets a hop and in all. The kernel holds about 200 KB a neighbour
// and gives up after three probes a second apart (spec/forwarding.md 1.1).
const (
	holdPerHop  = 64
	holdTotal   = 256
	holdWhole   = 16 // long ones among them: reassembled, which keep their place in the reassembler, or larger than a frame
	holdTimeout = 3 * clock.Second
)

// undo says how to turn a packet back into what its sender sent, for an error about it.
type undo struct {
	method service.Method
	reply  bool        // a server's packet, for NAT rewritten for the client
	silent bool        // the director's own: no error is sent about it
	addr   packet.Addr // NAT: what the destination, or a reply's source, was rewritten to
	port   uint16
	l3     int // tunnel: where the packet began before it was encapsulated
}

// held is a finished packet that waits for its next hop's MAC.
type held struct {
	k        pkt
	next     netip.Addr
	iface    int
	undo     undo
	deadline int64
}

// holdQueue keeps held packets in order of arrival.
type holdQueue struct {
	list []held
}

func (q *holdQueue) next() clock.Time {
	if len(q.list) == 0 {
		return clock.Never
	}
	return clock.Time(q.list[0].deadline)
}

// send puts a finished packet on its way, or holds it while its next hop resolves.
func (w *Worker) send(k *pkt, r *neigh.Result, u undo) {
	k.mtu = int(r.MTU)
	if r.Hop != 0 {
		e := &w.snap.egress[r.Hop]
		if e.ok || e.port < 0 {
			w.emit(k, e)
			return
		}
	}
	if w.snap.portOf(w.snap.nic(r.Interface)) < 0 {
		w.dispose(k, perf.NoPort)
		return
	}
	w.hold(k, r, u)
}

func (w *Worker) hold(k *pkt, r *neigh.Result, u undo) {
	n, whole := 0, 0
	for i := range w.holds.list {
		h := &w.holds.list[i]
		if h.next == r.Next && h.iface == r.Interface {
			n++
		}
		if h.k.frame == noFrame {
			whole++
		}
	}
	if n == 0 && w.ask != nil {
		w.ask.Ask(r.Interface, r.Next)
	}
	w.inOnePiece(k)
	if n >= holdPerHop || len(w.holds.list) >= holdTotal || k.frame == noFrame && whole >= holdWhole {
		w.dispose(k, perf.NeighborQueueFull)
		return
	}
	if k.frame == noFrame && k.whole == nil { // the scratch buffer is the next packet's
		k.buf = slices.Clone(k.buf[:k.end])
	}
	w.holds.list = append(w.holds.list, held{k: *k, next: r.Next, iface: r.Interface, undo: u, deadline: w.now + int64(holdTimeout)})
}

// retryHolds sends what a new snapshot has a MAC for, and gives up on what it calls failed.
func (w *Worker) retryHolds() {
	list := w.holds.list
	keep := list[:0]
	w.holds.list = nil // an error about a packet may have to be held itself
	for i := range list {
		h := &list[i]
		id := w.snap.Net.HopOf(h.iface, packet.AddrFrom(h.next))
		if id != 0 {
			if e := &w.snap.egress[id]; e.ok || e.port < 0 {
				w.emit(&h.k, e)
				continue
			}
			if w.snap.Net.Hop(id).Failed {
				w.unresolved(h)
				continue
			}
		}
		keep = append(keep, *h)
	}
	clear(list[len(keep):])
	w.holds.list = append(keep, w.holds.list...) // the errors, which came last
}

// expireHolds gives up on packets that have waited long enough.
func (w *Worker) expireHolds() {
	n := 0
	for n < len(w.holds.list) && w.holds.list[n].deadline <= w.now {
		n++
	}
	due := w.holds.list[:n]
	w.holds.list = w.holds.list[n:]
	for i := range due {
		w.unresolved(&due[i])
		due[i] = held{}
	}
	if len(w.holds.list) == 0 {
		w.holds.list = nil
	}
}

// unresolved tells the sender of a held packet that the host is unreachable, quoting the packet as it was sent.
func (w *Worker) unresolved(h *held) {
	k := &h.k
	if !h.undo.silent {
		source := k.key.Dst
		if h.undo.method == service.Tunnel {
			k.l3 = h.undo.l3
		}
		k.untranslate(&h.undo)
		if h.undo.reply {
			source = w.ownAddress(k.key.Src)
		}
		w.hostUnreachable(k, source)
	}
	w.dispose(k, perf.NoNeighbor)
}
