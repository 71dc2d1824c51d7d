package ring

// port is what a Crossing stands before: a Socket, or several as one.
type port interface {
	Receive(d []Desc) int
	Transmit(d []Desc) int
	Complete(f *Frames) int
	Refill(f *Frames) int
	Kick()
}

// Crossing is a port whose frames are one part of a worker's memory. It speaks the worker's addresses, and copies what
// leaves by it from a frame of another part. It implements worker.Port; the worker's free frames, which its calls name,
// are those of the Parts.
type Crossing struct {
	port  port
	parts *Parts
	own   *part
	descs []Desc // what Transmit hands on; its length bounds a batch
}

// NewCrossing puts a part's addresses and frames between a port and the worker. batch bounds what one Transmit takes.
func NewCrossing(p port, parts *Parts, i, batch int) *Crossing {
	return &Crossing{port: p, parts: parts, own: &parts.parts[i], descs: make([]Desc, batch)}
}

// Receive is the port's, in the worker's addresses.
//
//fastlb:hot
func (c *Crossing) Receive(d []Desc) int {
	n := c.port.Receive(d)
	for i := range d[:n] {
		d[i].Addr += c.own.base
	}
	return n
}

// Transmit is the port's. A packet in frames of another part is copied, if there are free frames of this one; it is taken
// whole or not. Each descriptor keeps its options.
//
//fastlb:hot
func (c *Crossing) Transmit(d []Desc) int {
	n := c.affordable(d)
	out := c.descs[:n]
	for i := range out {
		out[i] = d[i]
		if c.owns(d[i].Addr) {
			out[i].Addr -= c.own.base
			continue
		}
		f, _ := c.own.frames.Get() // affordable has counted them
		f += d[i].Addr % FrameSize
		copy(c.own.frames.Mem[f:][:d[i].Len], c.parts.Frames.Mem[d[i].Addr:][:d[i].Len])
		out[i].Addr = f
	}
	sent := c.port.Transmit(out)
	copied := uint64(0)
	for i := range out {
		switch {
		case c.owns(d[i].Addr):
		case i < sent:
			c.parts.put(d[i].Addr)
			copied++
		default: // the original stays the caller's
			c.own.frames.Put(out[i].Addr)
		}
	}
	if copied > 0 {
		c.parts.copied.Store(c.parts.copied.Load() + copied)
	}
	return sent
}

// owns tells whether a frame is of this part.
//
//fastlb:hot
func (c *Crossing) owns(addr uint64) bool {
	return addr-c.own.base < uint64(len(c.own.frames.Mem))
}

// affordable is how many descriptors from the front can be sent, whole packets all of them: as many as a batch, and as
// there are free frames for copies.
//
//fastlb:hot
func (c *Crossing) affordable(d []Desc) int {
	whole, copies := 0, 0
	for i := range d[:min(len(d), len(c.descs))] {
		if !c.owns(d[i].Addr) {
			if copies++; copies > c.own.frames.Len() {
				break
			}
		}
		if d[i].Options&Continued == 0 {
			whole = i + 1
		}
	}
	return whole
}

// Complete gives sent frames back to this part.
//
//fastlb:hot
func (c *Crossing) Complete(*Frames) int { return c.port.Complete(c.own.frames) }

// Refill moves this part's free frames to the fill ring, after those that the worker has put back have come home.
//
//fastlb:hot
func (c *Crossing) Refill(*Frames) int {
	c.parts.level()
	return c.port.Refill(c.own.frames)
}

// Kick is the port's.
//
//fastlb:hot
func (c *Crossing) Kick() { c.port.Kick() }
