package flow

import "sync/atomic"

// Rekey gives a published record another key: change gets a copy of its keys and flags and may set CPort, VPort, DPort
// and Flags in it (filling in a client port, spec/connections.md 2.2; invalidating a template, 5.3); whatever else it
// changes is ignored. Look-ups find the record under the old key until the instant from which they find it under the new.
//
// It returns r and true; the connection that already has the new key, and false; or 0 and false if the record is being
// removed or re-keyed by somebody else, or the index has no room. When false, nothing has changed. Templates may end up
// with equal keys (invalidated ones do); the latest is found.
func (t *Table) Rekey(worker int, r Ref, change func(*Conn)) (Ref, bool) {
	c := &t.recs[r]
	var flags uint32
	for {
		flags = c.LoadFlags()
		if flags&FlagHashed == 0 || flags&flagRekeying != 0 {
			return 0, false
		}
		if c.CASFlags(flags, flags|flagRekeying) {
			break
		}
	}
	was := Conn{Client: c.Client, Virtual: c.Virtual, Dest: c.Dest, Proto: c.Proto, fam: c.fam, Flags: flags}
	*portsWord(&was) = atomic.LoadUint64(portsWord(c))
	will := was
	change(&will)
	ports := *portsWord(&will)

	kind := uint64(0)
	if flags&FlagTemplate != 0 {
		kind = wordTemplate
	}
	inWas, inWill := was.InKey(), (&Conn{Client: was.Client, Virtual: was.Virtual, CPort: will.CPort, VPort: will.VPort, Proto: was.Proto, Flags: flags}).InKey()
	hWas, hWill := t.Hash(&inWas), t.Hash(&inWill)
	if inWill != inWas {
		var winner Ref
		var ok bool
		if kind == wordTemplate {
			ok = t.linkLatest(r, hWill, kind)
		} else {
			winner, ok = t.linkUnique(r, hWill, kind, ports&portsIn)
		}
		if !ok {
			t.finishRekey(c, flags, flags)
			return winner, false
		}
	}
	nat := kind == 0 && flags&FlagMethodMask == methodNAT
	outWas := was.OutKey()
	outWill := (&Conn{Client: was.Client, Dest: was.Dest, CPort: will.CPort, DPort: will.DPort, Proto: was.Proto, Flags: flags}).OutKey()
	oWas, oWill := t.Hash(&outWas), t.Hash(&outWill)
	if nat && outWill != outWas && !t.linkLatest(r, oWill, wordOut) {
		if inWill != inWas {
			t.unlinkWord(r, hWill, kind)
		}
		t.finishRekey(c, flags, flags)
		return 0, false
	}

	atomic.StoreUint64(portsWord(c), ports) // from now on the new key
	if inWill != inWas {
		t.moveWord(r, hWas, hWill, kind)
	}
	if nat && outWill != outWas {
		t.moveWord(r, oWas, oWill, wordOut)
	}
	if now := t.finishRekey(c, flags, will.Flags); now&FlagHashed == 0 {
		t.unlinkWord(r, hWill, kind) // removed meanwhile, perhaps under the old key
		if nat {
			t.unlinkWord(r, oWill, wordOut)
		}
		return 0, false
	}
	if d := int32(will.Flags&FlagNoCPort) - int32(flags&FlagNoCPort); d != 0 {
		t.noPort.Add(d / FlagNoCPort)
	}
	return r, true
}

// moveWord takes the old word away. Where both words are equal and their probe sequences overlap (once in a million
// times), that takes the new one too, so it is put back.
func (t *Table) moveWord(r Ref, was, will, kind uint64) {
	t.unlinkWord(r, was, kind)
	if tagOf(was) == tagOf(will) {
		t.unlinkWord(r, will, kind)
		t.put(will, makeWord(will, kind, r))
	}
}

// finishRekey applies what changed between two flag words to the record's, and releases it.
func (t *Table) finishRekey(c *Conn, was, will uint32) uint32 {
	const fixed = FlagHashed | FlagTemplate | FlagMethodMask | FlagIPv6 | flagRekeying
	set, gone := will&^was&^fixed, was&^will&^fixed
	for {
		have := c.LoadFlags()
		next := (have &^ (gone | flagRekeying)) | set
		if c.CASFlags(have, next) {
			return next
		}
	}
}
