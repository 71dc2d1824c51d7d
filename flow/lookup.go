package flow

import (
	"math/bits"
	"sync/atomic"

	"github.com/fastlb/fastlb/packet"
)

func mul64(x, y uint64) (hi, lo uint64) { return bits.Mul64(x, y) }

// Which bits of a record's ports word (CPort, VPort, DPort, Proto, family) are part of which key.
const (
	portsIn  = 0xffff_0000_ffff_ffff
	portsOut = 0xffff_ffff_0000_ffff
)

// Probe is one look-up of a batch: one cache line, the caller's.
type Probe struct {
	Key  Key    // in
	Hash uint64 // out: the key's hash, for InsertHashed
	Ref  Ref    // out: 0 if there is none
	Dir  Dir    // out: which half Key was found as
	_    [3]byte
	addr uintptr // what the next stage reads; for the prefetch
}

// inPorts is a key's last word as a record's ports word shows it to portsIn; outPorts likewise.
func inPorts(k *Key) uint64 { w := keyWord(k); return w&0xffff_ffff | w>>32<<48 }
func outPorts(k *Key) uint64 {
	w := keyWord(k)
	return w>>16&0xffff | w<<32&0xffff_0000_0000 | w>>32<<48
}

// LookupBatch finds the connections of a batch of keys. In words and Out words are looked for at once: Dir says which it
// was. The latency of memory is paid about once a pass rather than twice a packet; see the stages. servers are addresses
// of real servers by Conn.Server, as far as the caller knows them: whose reply a packet is, is then told without the
// record's second line.
//
//fastlb:hot
func (t *Table) LookupBatch(p []Probe, servers []packet.Addr) {
	if len(p) == 0 {
		return
	}
	t.HashAll(p)
	for rest := p; len(rest) > 0; {
		n := min(len(rest), group)
		t.Match(rest[:n])
		rest = rest[n:]
	}
	t.Resolve(p, servers)
}

const group = 16

// HashAll is the first stage: every probe's hash and bucket, and the bucket asked for.
//
//fastlb:hot
func (t *Table) HashAll(p []Probe) {
	if len(p) == 0 {
		return
	}
	if hasVector {
		hashVector(&p[0], len(p), &t.secrets, t.buckets, t.indexAt)
		return
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), group)
		t.hashEach(rest[:n])
		prefetchProbes(&rest[0], n, 0)
		rest = rest[n:]
	}
}

// hashEach is HashAll probe by probe and without the prefetch: for processors without the vector routine, and its twin in
// the tests.
func (t *Table) hashEach(p []Probe) {
	for i := range p {
		q := &p[i]
		q.Hash = t.Hash(&q.Key)
		q.addr = t.indexAt + uintptr(t.home(q.Hash))*64
	}
}

// Match is the second stage: compares tags, and asks for the record of the first candidate in each home bucket.
//
//fastlb:hot
func (t *Table) Match(p []Probe) {
	if len(p) == 0 {
		return
	}
	if hasVector {
		matchVector(p, t.recsAt)
		return
	}
	t.matchWords(p)
}

// matchWords is Match word by word: for processors without the vector routine, and its twin in the tests.
func (t *Table) matchWords(p []Probe) {
	for i := range p {
		q := &p[i]
		b := &t.index[t.home(q.Hash)]
		w := b.first(tagOf(q.Hash))
		q.Ref = Ref(w)
		q.Dir = Dir(w >> 54 & 1)
		q.addr = t.recsAt + uintptr(q.Ref)*recordSize
	}
	prefetchProbes(&p[0], len(p), 0)
}

// first is the first word of the bucket that matches, 0 if none does.
func (b *bucket) first(want uint64) uint64 {
	for s := range b {
		if w := atomic.LoadUint64(&b[s]); w&matchMask == want {
			return w
		}
	}
	return 0
}

// Resolve is the last stage: compares whole keys. What the first candidate does not settle goes the long way.
//
//fastlb:hot
func (t *Table) Resolve(p []Probe, servers []packet.Addr) {
	for i := range p {
		q := &p[i]
		if q.Ref != 0 {
			c := &t.recs[q.Ref]
			if q.Dir == In {
				if c.isIn(&q.Key) {
					continue
				}
			} else if s := c.Server; uint(s) < uint(len(servers)) && servers[s] == q.Key.Src && c.isOutOf(&q.Key) || c.isOut(&q.Key) {
				continue
			}
		} else if atomic.LoadUint64(&t.index[t.home(q.Hash)][0])>>passedShift == 0 {
			continue
		}
		q.Ref, q.Dir = t.find(&q.Key, q.Hash)
	}
}

func (c *Conn) isIn(k *Key) bool {
	return atomic.LoadUint64(portsWord(c))&portsIn == inPorts(k) && c.Client == k.Src && c.Virtual == k.Dst
}

// isOutOf is isOut for a key that comes from the server that the connection has by number. Dest is that server's address
// unless a helper sent the connection elsewhere; a number is given to another server only when no connection has it.
func (c *Conn) isOutOf(k *Key) bool {
	return atomic.LoadUint64(portsWord(c))&portsOut == outPorts(k) && c.Client == k.Dst && c.LoadFlags()&FlagElsewhere == 0
}

func (c *Conn) isOut(k *Key) bool {
	return atomic.LoadUint64(portsWord(c))&portsOut == outPorts(k) && c.Client == k.Dst && c.Dest == k.Src
}

// Lookup finds one connection by a packet's own tuple, as client's packet (In) or NAT server's (Out).
func (t *Table) Lookup(k *Key) (Ref, Dir) { return t.find(k, t.Hash(k)) }

// LookupReply finds the connection of which a server's packet is the answer that is not NAT (its source is the virtual
// address): the look-up by the reversed tuple.
func (t *Table) LookupReply(k *Key) Ref {
	rev := Key{Src: k.Dst, Dst: k.Src, SrcPort: k.DstPort, DstPort: k.SrcPort, Proto: k.Proto, Family: k.Family}
	r, d := t.Lookup(&rev)
	if r == 0 || d != In || t.recs[r].Method() == methodNAT {
		return 0
	}
	return r
}

// LookupTemplate finds a persistence template by its InKey. Lookup never returns templates, nor this connections.
func (t *Table) LookupTemplate(k *Key) Ref {
	h := t.Hash(k)
	want := tagOf(h) | wordTemplate
	home := t.home(h)
	for i := range t.probes {
		b := &t.index[t.probe(home, i)]
		for s := range b {
			if w := atomic.LoadUint64(&b[s]); w&matchMask == want && t.recs[Ref(w)].isIn(k) {
				return Ref(w)
			}
		}
		if atomic.LoadUint64(&b[0])>>passedShift == 0 {
			break
		}
	}
	return 0
}

// find is the whole look-up, bucket by bucket.
func (t *Table) find(k *Key, h uint64) (Ref, Dir) {
	want := tagOf(h)
	home := t.home(h)
	for i := range t.probes {
		b := &t.index[t.probe(home, i)]
		for s := range b {
			w := atomic.LoadUint64(&b[s])
			if w&matchMask != want {
				continue
			}
			r := Ref(w)
			if w&wordOut == 0 {
				if t.recs[r].isIn(k) {
					return r, In
				}
			} else if t.recs[r].isOut(k) {
				return r, Out
			}
		}
		if atomic.LoadUint64(&b[0])>>passedShift == 0 {
			break
		}
	}
	return 0, In
}
