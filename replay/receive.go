package replay

import (
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/ring"
)

// Receive gives the director a frame that was captured at a time on the interface called name, "" standing for the first.
// Timers that are due before run first. A frame older than the one before is handled at that one's time; what is sent
// in answer bears its own.
func (e *Engine) Receive(name string, at clock.Time, frame []byte) {
	e.Advance(at)
	e.stamp = at
	e.quiet = 0
	e.received++
	port, missing, ok := e.net.arrival(name, frame)
	if !ok {
		e.reasons[perf.PassNotHost]++
		return
	}
	if len(frame)+4*missing.n > maxFrame {
		e.reasons[perf.Oversize]++
		return
	}
	var buf [ring.MaxPacket]byte
	b := buf[:]
	if len(frame)+4*missing.n > len(b) {
		b = make([]byte, maxFrame)
	}
	frame = b[:putFrame(b, frame, missing)]
	if len(frame) >= 14 && !e.net.host(port, frame) {
		e.reasons[perf.PassNotHost]++
		return
	}
	if f := &e.net.static.Snapshot().Interfaces[e.net.ports[port]]; f.Limit > 0 && len(frame) > int(f.Limit)+18 {
		e.reasons[perf.Oversize]++
		return
	}
	l := e.lanes[e.spread(frame)]
	if !l.ports[port].receive(frame) {
		e.reasons[perf.NoFrame]++
		return
	}
	l.Round(e.now)
	if len(e.lanes) > 1 {
		e.round()
	}
}

// maxFrame is the longest frame of a capture: the longest IP packet behind an Ethernet header and two tags.
const maxFrame = 14 + 8 + 40 + 65535

// spread is the worker of a frame: its RSS hash through an indirection table of 128 entries that goes round the workers,
// as NICs have it. What has no addresses goes to the first.
func (e *Engine) spread(frame []byte) int {
	if len(e.lanes) == 1 {
		return 0
	}
	var k packet.Tuple
	var p packet.Parsed
	packet.Parse(frame, &k, &p)
	switch p.Kind {
	case packet.NotIP, packet.Runt, packet.BadIP:
		return 0
	}
	ports := p.Kind == packet.Transport && (k.Proto == packet.ProtoTCP || k.Proto == packet.ProtoUDP)
	return int(packet.Toeplitz(&k, ports)&127) % len(e.lanes)
}

// Reasons counts, by reason, the received frames that were dropped or left to the kernel.
func (e *Engine) Reasons() [perf.Reasons]uint64 {
	all := e.reasons
	for _, l := range e.lanes {
		for r := range all {
			all[r] += l.Stats().Reasons[r].Load()
		}
	}
	return all
}
