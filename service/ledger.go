package service

// ledger knows where the counters of each server slot began to mean what they mean now. Counter lines only grow; all
// else is subtraction.
type ledger struct {
	shown []Stats // by slot number: the sum at which the server's own statistics are 0 (made, or -Z)
	since []Stats // by slot number: the sum at which it joined its service
	gone  Stats   // what deleted services counted
	zero  Stats   // where -Z of the whole table was
}

// Count lets the table tell statistics from counters. Without it all are 0. Call it before servers are added.
func (t *Table) Count(c *Counters) {
	t.counters = c
	n := t.slots.Capacity() + 1
	t.books.shown, t.books.since = make([]Stats, n), make([]Stats, n)
}

// open begins the statistics of a server at 0.
func (b *ledger) open(c *Counters, slot uint32) {
	if c != nil {
		b.shown[slot] = c.Sum(slot)
		b.since[slot] = b.shown[slot]
	}
}

// join lets the statistics of a server go on that comes back to its service.
func (b *ledger) join(c *Counters, slot uint32) {
	if c != nil {
		b.since[slot] = c.Sum(slot)
	}
}

// leave adds what a server counted for its service to what stays there.
func (b *ledger) leave(c *Counters, e *entry, slot uint32) {
	if c != nil {
		e.residue.Add(c.Sum(slot).Less(b.since[slot]))
	}
}

// close adds what a service counted to what stays in the table; its servers have left.
func (t *Table) close(e *entry) { t.books.gone.Add(e.residue) }

// ServerStats are a server's statistics since it was made or zeroed.
func (t *Table) ServerStats(s *Server) Stats {
	if t.counters == nil {
		return Stats{}
	}
	return t.counters.Sum(s.Number).Less(t.books.shown[s.Number])
}

// ServiceStats are a service's statistics: those of its servers, and of those it had; ErrNoService.
func (t *Table) ServiceStats(id ID) (Stats, error) {
	e, err := t.find(id)
	if err != nil {
		return Stats{}, err
	}
	return t.sum(e).Less(e.zero), nil
}

// sum is what a service has counted ever.
func (t *Table) sum(e *entry) Stats {
	sum := e.residue
	if t.counters != nil {
		for _, s := range e.Servers {
			sum.Add(t.counters.Sum(s.Number).Less(t.books.since[s.Number]))
		}
	}
	return sum
}

// TotalStats are the statistics of the whole table.
func (t *Table) TotalStats() Stats { return t.everything().Less(t.books.zero) }

func (t *Table) everything() Stats {
	sum := t.books.gone
	for _, e := range t.services {
		sum.Add(t.sum(e))
	}
	return sum
}

// Zero lets the statistics of a service and its servers begin at 0 (-Z); ErrNoService.
func (t *Table) Zero(id ID) error {
	e, err := t.find(id)
	if err != nil {
		return err
	}
	t.zero(e)
	return nil
}

// ZeroAll lets all statistics begin at 0.
func (t *Table) ZeroAll() {
	for _, e := range t.services {
		t.zero(e)
	}
	t.books.zero = t.everything()
}

func (t *Table) zero(e *entry) {
	e.zero = t.sum(e)
	if t.counters != nil {
		for _, s := range e.Servers {
			t.books.shown[s.Number] = t.counters.Sum(s.Number)
		}
	}
}
