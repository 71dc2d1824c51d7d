package replay

import "github.com/fastlb/fastlb/ring"

// port is a worker.Port in memory: one frame in, any number out, each handed on at once. There are no rings, so nothing
// is ever full and every frame is back on the worker's stack by the end of Transmit.
type port struct {
	frames *ring.Frames
	number int
	rx     []ring.Desc
	long   []byte // what has come so far of a packet that lies in several frames
	sent   func(port int, frame []byte)
}

func (p *port) Receive(d []ring.Desc) int {
	n := copy(d, p.rx)
	p.rx = p.rx[:copy(p.rx, p.rx[n:])]
	return n
}

func (p *port) Transmit(d []ring.Desc) int {
	for _, x := range d {
		b := p.frames.Bytes(x)
		if x.Options&ring.Continued != 0 || len(p.long) > 0 { // in several frames
			p.long = append(p.long, b...)
			b = p.long
		}
		if x.Options&ring.Continued == 0 {
			p.sent(p.number, b)
			p.long = p.long[:0]
		}
		p.frames.Put(x.Addr)
	}
	return len(d)
}

func (p *port) Complete(*ring.Frames) int { return 0 }
func (p *port) Refill(*ring.Frames) int   { return 0 }
func (p *port) Kick()                     {}

// receive puts a frame of the capture into frames of the worker's, as a driver would, for the next Receive; false: there
// are not enough. A driver leaves headroom in every one of them.
func (p *port) receive(b []byte) bool {
	n := (len(b) + ring.MaxPacket - 1) / ring.MaxPacket
	if p.frames.Len() < max(n, 1) {
		return false
	}
	for {
		addr, _ := p.frames.Get()
		d := ring.Desc{Addr: addr + ring.Headroom, Len: uint32(min(len(b), ring.MaxPacket)), Options: ring.Continued}
		copy(p.frames.Mem[d.Addr:], b[:d.Len])
		if b = b[d.Len:]; len(b) == 0 {
			d.Options = 0
		}
		p.rx = append(p.rx, d)
		if len(b) == 0 {
			return true
		}
	}
}
