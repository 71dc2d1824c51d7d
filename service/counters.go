package service

// CounterLine holds one worker's counts for one server: a cache line, one writer. Bytes are IP total lengths before any
// rewriting (spec/connections.md 12).
type CounterLine struct {
	conns, inPkts, outPkts, inBytes, outBytes uint64
	_                                         [24]byte
}

// Conn counts a new connection.
//
//fastlb:hot
func (l *CounterLine) Conn() { add(&l.conns, 1) }

// In counts a packet from the client.
//
//fastlb:hot
func (l *CounterLine) In(bytes uint32) {
	add(&l.inPkts, 1)
	add(&l.inBytes, uint64(bytes))
}

// Out counts a packet from the server.
//
//fastlb:hot
func (l *CounterLine) Out(bytes uint32) {
	add(&l.outPkts, 1)
	add(&l.outBytes, uint64(bytes))
}

// Counters are the counts of every worker for every server slot. A line is written by its worker alone and only ever
// grows; whoever reads adds the workers' lines up. Zeroing (-Z), servers that come and go and services' totals are the
// ledger's business: it remembers where a count began.
type Counters struct {
	workers, stride int
	lines           []CounterLine
}

// NewCounters makes counters for slots numbered up to slots.
func NewCounters(workers, slots int) *Counters {
	c := &Counters{workers: workers, stride: slots + 1}
	n := workers * c.stride
	c.lines = make([]CounterLine, max(n, 1024))[:n] // large enough for page alignment, hence no line is shared
	return c
}

// Workers is the number of workers counted for.
func (c *Counters) Workers() int { return c.workers }

// Line is the line of a worker for a slot number.
//
//fastlb:hot
func (c *Counters) Line(worker int, slot uint32) *CounterLine {
	return &c.lines[worker*c.stride+int(slot)]
}

// Lines are the lines of a worker, by slot number.
func (c *Counters) Lines(worker int) []CounterLine {
	return c.lines[worker*c.stride : (worker+1)*c.stride : (worker+1)*c.stride]
}

// Sum adds up the workers' counts for a slot number.
func (c *Counters) Sum(slot uint32) (s Stats) {
	for w := range c.workers {
		s.Add(c.Worker(w, slot))
	}
	return s
}

// Worker reads one worker's counts for a slot number.
func (c *Counters) Worker(worker int, slot uint32) Stats {
	l := c.Line(worker, slot)
	return Stats{load(&l.conns), load(&l.inPkts), load(&l.outPkts), load(&l.inBytes), load(&l.outBytes)}
}

// Add adds o to s.
func (s *Stats) Add(o Stats) {
	s.Conns += o.Conns
	s.InPkts += o.InPkts
	s.OutPkts += o.OutPkts
	s.InBytes += o.InBytes
	s.OutBytes += o.OutBytes
}

// Less is s without o, which is an earlier value of the same counts.
func (s Stats) Less(o Stats) Stats {
	return Stats{s.Conns - o.Conns, s.InPkts - o.InPkts, s.OutPkts - o.OutPkts, s.InBytes - o.InBytes, s.OutBytes - o.OutBytes}
}
