package bench

import (
	"encoding/binary"
	"math/bits"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/service"
	"github.com/fastlb/fastlb/worker"
)

const (
	frameLength = 60     // bytes of an IPv4 packet's frame; a minimum-size Ethernet frame without its checksum
	portsEach   = 50_000 // ports that a client of an established connection uses
	clientBits  = 20     // of fresh connections: 2^20 clients come by turns, each with its next port
	pieceRounds = 16     // rounds of one figure: the result is the median of many, which a preempted one does not move
	maxPieces   = 1 << 17
	roundTime   = 2 * 1000 // ns on the worker's clock from one round to the next, when connections are established
)

// forwarder is what a lane drives: the worker, or the bare forwarder that it is compared with.
type forwarder interface {
	Round(now clock.Time) int
	Idle()
}

// lane is one worker with the kernel's half of its rings, and the network's: it makes the packets. It fills whole cache
// lines, so that lanes do not slow each other down.
type lane struct {
	_       [64]byte
	site    *site
	id      int
	worker  *worker.Worker
	drives  forwarder // the worker, unless a bare forwarder is measured
	frames  *ring.Frames
	memory  *numa.Memory
	port    *ring.Socket
	kernel  *ring.Kernel
	now     int64
	waiting int   // packets on the RX ring
	handled int   // packets of the piece that ended last
	spent   int64 // ns of it
	timed   bool  // profile is filled in
	profile worker.Profile

	rng   uint64
	next  uint64 // fresh: number of the next connection; established NAT: of the next to be answered for the first time
	reply bool
	descs [worker.MaxBatch]ring.Desc
	addrs [worker.MaxBatch]uint64
	_     [64]byte
}

func (s *site) addLane(i int, counters *service.Counters) error {
	rings, frames := ringsFor(s.cfg.batch), framesFor(s.cfg.batch)
	l := &lane{site: s, id: i, rng: uint64(i)*0x9e3779b97f4a7c15 + 0x1234567, next: uint64(i)}
	var err error
	if l.memory, err = numa.Alloc(frames*ring.FrameSize, s.cfg.hugePages, -1); err != nil {
		return err
	}
	s.lanes = append(s.lanes, l)
	l.frames = ring.NewFrames(l.memory.Bytes[:frames*ring.FrameSize])
	socket, kernel, err := ring.NewMemory(l.frames, ring.Sizes{Fill: rings, Completion: rings, RX: rings, TX: rings})
	if err != nil {
		return err
	}
	l.port, l.kernel = socket, kernel
	l.worker, err = worker.New(worker.Config{
		ID: i, Batch: s.cfg.batch, Frames: l.frames, Ports: []worker.Port{socket}, Flows: s.flows, Slots: s.slots, Counters: counters,
		Snapshots: &s.snaps,
	})
	l.drives = l.worker
	return err
}

// ringsFor is the slots of each ring: a whole piece waits on the RX ring, and then on the TX ring.
func ringsFor(batch int) int { return 1 << bits.Len(uint(pieceRounds*batch-1)) }

// framesFor is the frames of a lane: enough for every ring to be full.
func framesFor(batch int) int { return 4 * ringsFor(batch) }

// supply does the kernel's and the network's part: what was sent is completed, and packets arrive until those of a number
// of rounds wait on the RX ring.
func (l *lane) supply(rounds int) {
	for {
		n := l.kernel.Take(l.descs[:])
		if n == 0 {
			break
		}
		for i := range l.descs[:n] {
			l.addrs[i] = l.descs[i].Addr
		}
		l.kernel.Feed(l.addrs[:n])
	}
	for want := rounds * l.site.cfg.batch; l.waiting < want; {
		n := l.kernel.Drain(l.addrs[:min(want-l.waiting, len(l.addrs))])
		if n == 0 {
			return
		}
		for i := range n {
			l.descs[i] = l.write(l.addrs[i])
		}
		l.waiting += l.kernel.Give(l.descs[:n])
	}
}

// round is the worker's part: one round. It returns the number of packets.
func (l *lane) round() int {
	if l.site.cfg.fresh {
		// Connections live for the SYN_RECV timeout; at this pace the table stays half full.
		l.now += int64(min(l.waiting, l.site.cfg.batch)) * l.site.pace
	} else {
		l.now += roundTime
	}
	n := l.drives.Round(clock.Time(l.now))
	l.waiting -= n
	return n
}

// turn is one round with the kernel's part before it.
func (l *lane) turn() int {
	l.supply(1)
	return l.round()
}

// choose draws the connection of an established packet among those whose packets the NIC gives to this worker. A NIC
// hashes addresses and ports, so a connection's packets come to one worker, and its replies to one that has nothing to do
// with it.
func (l *lane) choose(reply bool) uint64 {
	l.rng ^= l.rng << 13
	l.rng ^= l.rng >> 7
	l.rng ^= l.rng << 17
	r, all, w := l.rng>>32, uint64(l.site.cfg.connections), uint64(l.site.cfg.workers)
	if w == 1 || l.site.cfg.shared || all < w*w {
		return r * all >> 32
	}
	if !reply {
		return r*(all/w)>>32*w + uint64(l.id)
	}
	n := r * (all / (w * w) * w) >> 32
	return (n/w*w+uint64(l.id))*w + n%w
}

// write puts the next packet into a frame.
func (l *lane) write(frame uint64) ring.Desc {
	s := l.site
	var n uint64
	flags := uint8(packet.ACK)
	reply := false
	switch {
	case s.cfg.fresh:
		n, flags = l.next, packet.SYN
		l.next += uint64(s.cfg.workers)
	case s.cfg.method == service.NAT && l.next < uint64(s.cfg.connections):
		// The first reply finds the way to the client, which is not what an established packet costs.
		n, reply = l.next, true
		l.next += uint64(s.cfg.workers)
	default:
		if s.cfg.method == service.NAT {
			reply = l.reply
			l.reply = !l.reply
		}
		n = l.choose(reply)
	}
	src, sport := s.client(n)
	dst, dport := s.destination(n), uint16(80)
	if reply {
		v := s.server(n)
		src, dst, sport, dport = v.Addr, src, v.Port, sport
	}
	addr := frame&^(ring.FrameSize-1) + ring.Headroom
	b := l.frames.Mem[addr:][:128]
	copy(b, ownMAC[:])
	copy(b[6:], gatewayMAC[:])
	length := frameLength
	if s.cfg.family == 4 {
		binary.BigEndian.PutUint16(b[12:], packet.EtherIPv4)
		h := b[14:54]
		binary.BigEndian.PutUint64(h, 0x4500_0028_0000_4000)
		binary.BigEndian.PutUint32(h[8:], 0x4006_0000)
		src.Put4(h[12:])
		dst.Put4(h[16:])
		packet.SetHeaderChecksum(h)
		writeTCP(h[20:], sport, dport, flags)
	} else {
		binary.BigEndian.PutUint16(b[12:], packet.EtherIPv6)
		h := b[14:74]
		binary.BigEndian.PutUint64(h, 0x6000_0000_0014_0640)
		src.Put16(h[8:])
		dst.Put16(h[24:])
		writeTCP(h[40:], sport, dport, flags)
		length = 74
	}
	return ring.Desc{Addr: addr, Len: uint32(length)}
}

// writeTCP makes a header with no payload; its checksum is arbitrary, which the dataplane does not mind.
func writeTCP(h []byte, sport, dport uint16, flags uint8) {
	binary.BigEndian.PutUint16(h, sport)
	binary.BigEndian.PutUint16(h[2:], dport)
	binary.BigEndian.PutUint64(h[4:], 0x0000_0001_0000_0001)
	h[12], h[13], h[14], h[15] = 0x50, flags, 0xff, 0xff
	binary.BigEndian.PutUint32(h[16:], 0x1234_0000)
}
