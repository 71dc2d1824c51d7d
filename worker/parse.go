package worker

import (
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/ring"
)

// unparsed is the Kind of packets that parseVector leaves to packet.Parse.
const unparsed packet.Kind = 255

// parse takes the packets of a batch apart: parsed[i] and probes[i].Key are those of d[i]. It returns the bytes of all.
//
//fastlb:hot
func (w *Worker) parse(d []ring.Desc) (bytes uint64) {
	if !hasVector {
		return w.parseEach(d)
	}
	if len(d) == 0 || len(d) > MaxBatch || len(w.mem) == 0 {
		return 0
	}
	bytes, rest := parseVector(&w.mem[0], uint64(len(w.mem)), &d[0], len(d), &w.parsed[0], &w.probes[0])
	if rest > 0 {
		w.parseRest(d)
	}
	return bytes
}

// parseRest parses what parseVector left.
func (w *Worker) parseRest(d []ring.Desc) {
	for i := range d {
		if w.parsed[i].Kind == unparsed {
			packet.Parse(w.mem[d[i].Addr:][:d[i].Len], &w.probes[i].Key, &w.parsed[i])
		}
	}
}

// parseEach is parse packet by packet: for processors without the vector routine, and its twin in the tests.
func (w *Worker) parseEach(d []ring.Desc) (bytes uint64) {
	for i := range d {
		bytes += uint64(d[i].Len)
		packet.Parse(w.mem[d[i].Addr:][:d[i].Len], &w.probes[i].Key, &w.parsed[i])
	}
	return bytes
}
