package control

import (
	"testing"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// BenchmarkActiveAges reports ns a connection of a full table.
func BenchmarkActiveAges(b *testing.B) {
	const n = 1_000_000
	flows, err := flow.New(make([]byte, flow.Size(n+1024)), flow.Config{Capacity: n + 1024, Workers: 1})
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		ref := flows.Alloc(0)
		*flows.Conn(ref) = flow.Conn{
			Client: packet.AddrFrom4([]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), CPort: 1, VPort: 80, Proto: service.TCP, Server: uint32(1 + i%8),
			Flags: flow.FlagNoOutput | uint32(service.DR) | uint32(flow.TCPEstablished)<<flow.StateShift, Deadline: 1e12, Timeout: 9e11,
		}
		if _, won := flows.Insert(0, ref); !won {
			b.Fatal("lost")
		}
	}
	c := New(Options{Slots: service.HeapSlots(64), Flows: flows})
	for b.Loop() {
		if a := c.ActiveAges(clock.Time(2e11)); a[0].Recent+a[0].Minute+a[0].Longer != n {
			b.Fatalf("%+v", a[0])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/connection")
}
