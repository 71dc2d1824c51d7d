package replay

import "github.com/fastlb/fastlb/ring"

// port is a worker.Port in memory: one frame in, any number out, each handed on at once. There are no rings, so nothing
// is ever full and every frame is back on the worker's stack by the end of Transmit.
type port struct {
	frames *ring.Frames
	number int
	rx     []ring.Desc
	sent   func(port int, frame []byte)
}

func (p *port) Receive(d []ring.Desc) int {
	n := copy(d, p.rx)
	p.rx = p.rx[:copy(p.rx, p.rx[n:])]
	return n
}

func (p *port) Transmit(d []ring.Desc) int {
	for _, x := range d {
		p.sent(p.number, p.frames.Bytes(x))
		p.frames.Put(x.Addr)
	}
	return len(d)
}

func (p *port) Complete(*ring.Frames) int { return 0 }
func (p *port) Refill(*ring.Frames) int   { return 0 }
func (p *port) Kick()                     {}
