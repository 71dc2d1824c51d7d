package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A histogram has buckets of equal width, the last for whatever is longer: 128 ns up to 16.8 ms.
const (
	bucketBits = 7
	buckets    = 1 << 17
)

// histogram counts durations.
type histogram []uint64

// add counts the buckets of another.
func (h histogram) sub(earlier histogram) histogram {
	out := make(histogram, len(h))
	for i := range h {
		out[i] = h[i] - earlier[i]
	}
	return out
}

func (h histogram) total() (n uint64) {
	for _, c := range h {
		n += c
	}
	return n
}

// quantile is the upper edge of the bucket in which the q-th part of all durations ends; 0 of none.
func (h histogram) quantile(q float64) time.Duration {
	need := uint64(math.Ceil(q * float64(h.total())))
	if need == 0 {
		return 0
	}
	var seen uint64
	for i, c := range h {
		if seen += c; seen >= need {
			return time.Duration(i+1) << bucketBits
		}
	}
	return time.Duration(len(h)) << bucketBits
}

// highest is the upper edge of the last bucket that is not empty.
func (h histogram) highest() time.Duration {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i] > 0 {
			return time.Duration(i+1) << bucketBits
		}
	}
	return 0
}

// latencies are the histograms that a forwarder's sinks fill together.
type latencies struct {
	due  *ebpf.Map // since the packet was to be sent
	sent *ebpf.Map // since it was
}

func newLatencies() (l latencies, err error) {
	for _, m := range []**ebpf.Map{&l.due, &l.sent} {
		if *m, err = ebpf.NewMap(&ebpf.MapSpec{Name: "peers_latency", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: buckets}); err != nil {
			return l, fmt.Errorf("create a histogram: %w", errors.Join(err, l.close()))
		}
	}
	return l, nil
}

func (l latencies) close() (err error) {
	for _, m := range []*ebpf.Map{l.due, l.sent} {
		if m != nil {
			err = errors.Join(err, m.Close())
		}
	}
	return err
}

// read returns what has been counted up to now.
func (l latencies) read() (due, sent histogram, err error) {
	if due, err = readHistogram(l.due); err == nil {
		sent, err = readHistogram(l.sent)
	}
	return due, sent, err
}

func readHistogram(m *ebpf.Map) (histogram, error) {
	keys, h := make([]uint32, buckets), make(histogram, buckets)
	var cursor ebpf.MapBatchCursor
	for n := 0; n < buckets; {
		got, err := m.BatchLookup(&cursor, keys[n:], []uint64(h[n:]), nil)
		n += got
		if err != nil && !(errors.Is(err, ebpf.ErrKeyNotExist) && n == buckets) {
			return nil, fmt.Errorf("read a histogram: %w", err)
		}
	}
	return h, nil
}

// timed is the sink that also counts how long each packet took. R6 context, R7 packet, R8 now, R9 a stamp.
func (s *sink) timed(l latencies) asm.Instructions {
	i := append(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, lookup(s.counters, 0)...)
	i = append(i,
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.FnKtimeGetNs.Call(),
		asm.Mov.Reg(asm.R8, asm.R0),
	)
	i = append(i, packetOfOurs()...)
	i = append(i, into(l.due, offDue, "due")...)
	i = append(i, into(l.sent, offSent, "sent")...)
	return append(i, asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("bad"), asm.Return())
}

// into counts the time from a packet's stamp to R8.
func into(m *ebpf.Map, stamp int16, name string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R9, asm.R7, stamp, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R8),
		asm.Sub.Reg(asm.R1, asm.R9),
		asm.RSh.Imm(asm.R1, bucketBits),
		asm.JLT.Imm(asm.R1, buckets, name),
		asm.Mov.Imm(asm.R1, buckets-1),
		asm.StoreMem(asm.RFP, -4, asm.R1, asm.Word).WithSymbol(name),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "bad"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
	}
}
