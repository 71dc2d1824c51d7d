package flow

import (
	"fmt"
	"sync/atomic"
)

// Config is what a new table is made with.
type Config struct {
	Capacity uint32    // connections, templates included
	Seed     [2]uint64 // of the hash; random live, fixed in replay
	Workers  int       // workers that run rounds, numbered from 0; number Workers is the control path's
}

// Table is the connection table. Its memory holds connections and index; what a Table itself holds (free lists, round
// counters) is this process's own and rebuilt by Open.
//
// Who may call what: every method with a worker argument is that worker's alone and must not run twice at a time for one
// worker; the look-ups, Conn, Walk and Len are anybody's.
type Table struct {
	index   []bucket // words: atomic; see index.go for who changes them how
	recs    []Conn
	secrets secrets
	buckets uint64
	pairs   uint32
	probes  int // buckets that a look-up visits at most
	indexAt uintptr
	recsAt  uintptr

	sweep    []uint32 // a word a record: deadline or free-list link; see expiry.go
	header   *header
	capacity uint32
	workers  int
	base     int64 // connections that were there at Open
	batch    uint32
	due      *dueHeap // replay's exact deadlines; nil live

	pool   pool
	_      [64]byte
	epoch  atomic.Uint64 // the grace periods passed; see epoch.go
	_      [56]byte
	orphan atomic.Uint32 // removed records that idle workers left behind
	noPort atomic.Int32  // connections with FlagNoCPort
	_      [56]byte
	local  []workerState // by worker, and the control path's last
	reader readerState
}

// New formats mem, which must be aligned to a cache line and need not be zeroed, as an empty table.
func New(mem []byte, cfg Config) (*Table, error) {
	if cfg.Capacity == 0 || cfg.Capacity > MaxCapacity {
		return nil, fmt.Errorf("flow table: capacity %d is not between 1 and %d", cfg.Capacity, MaxCapacity)
	}
	l := layoutFor(cfg.Capacity)
	t, err := attach(mem, l, cfg.Workers)
	if err != nil {
		return nil, err
	}
	t.header.Magic = 0 // no table until the end of this function
	clear(mem[l.index:l.records])
	*t.header = header{
		Version: version, RecordSize: recordSize, Capacity: cfg.Capacity, Buckets: l.buckets,
		Seed: cfg.Seed, Size: uint64(l.size),
	}
	t.secrets = newSecrets(cfg.Seed)
	t.header.Magic = magic
	t.header.Checksum = t.header.sum()
	t.pool.init(cfg.Capacity, t.batch, cfg.Workers+1, 1)
	return t, nil
}

// attach builds the process's half over memory of a known layout.
func attach(mem []byte, l layout, workers int) (*Table, error) {
	if workers < 1 {
		return nil, fmt.Errorf("flow table: %d workers, need at least one", workers)
	}
	h, index, sweep, recs, err := views(mem, l)
	if err != nil {
		return nil, err
	}
	t := &Table{
		index: index, recs: recs, sweep: sweep, header: h,
		capacity: l.capacity, buckets: uint64(l.buckets), pairs: l.buckets / 2,
		probes: min(maxProbes, int(l.buckets)), workers: workers,
		local:   make([]workerState, workers+1),
		indexAt: bucketAddr(&index[0]), recsAt: connAddr(&recs[0]),
	}
	t.batch = min(max(l.capacity/uint32(workers+1)/32, 1), 64)
	t.epoch.Store(1)
	for i := range t.local {
		t.local[i].seen.Store(idle)
		t.local[i].hand = uint32(i) * sweepChunk
	}
	t.reader.seen.Store(idle)
	return t, nil
}

// Seed is what the hash is keyed with.
func (t *Table) Seed() [2]uint64 { return t.header.Seed }

// Capacity is the greatest number of connections and templates.
func (t *Table) Capacity() uint32 { return t.capacity }

// Workers is the number of workers that the table was made or opened for.
func (t *Table) Workers() int { return t.workers }

// ControlWorker is the worker number under which the control path, which runs no rounds, calls: BeginRound before, GoIdle
// after, one goroutine at a time.
func (t *Table) ControlWorker() int { return t.workers }

// Len is the number of connections and templates, exact when nobody is adding or removing.
func (t *Table) Len() int {
	n := t.base
	for i := range t.local {
		n += t.local[i].added.Load() - t.local[i].removed.Load()
	}
	return int(n)
}

// Conn is the record of r, which must have come from this table; r = 0 gives a record that nobody uses. The pointer is
// good for the caller's round.
//
//fastlb:hot
func (t *Table) Conn(r Ref) *Conn { return &t.recs[r] }

// HasNoCPort tells whether a connection exists whose client port is not known yet (FTP data), so that a look-up that
// failed is worth repeating with source port 0.
func (t *Table) HasNoCPort() bool { return t.noPort.Load() > 0 }
