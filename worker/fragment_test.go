package worker

import (
	"encoding/binary"
	"testing"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// Datagrams whose rest never comes do not keep others out: they make room, oldest first.
func TestFragmentFlood(t *testing.T) {
	r := newRig(t, 1)
	r.service(service.UDP, "10.9.0.1", 53, service.DR, "10.2.0.11")
	parts := cut(udp("10.1.0.1", 1000, "10.9.0.1", 53, 3000), 1400)
	junk := cut(udp("10.1.0.2", 1000, "10.9.0.1", 53, 3000), 1400)[1]
	for id := range maxDatagrams {
		r.now++
		binary.BigEndian.PutUint16(junk[18:], uint16(id))
		packet.SetHeaderChecksum(junk[14:])
		r.in(0, junk)
	}
	n := 0
	for _, p := range parts {
		n += len(r.in(0, p))
	}
	if n != len(parts) {
		t.Errorf("sent %d of %d fragments in the flood", n, len(parts))
	}
	r.reason(perf.FragmentLimit, 1)
	r.account()
}
