package ring_test

import (
	"fmt"
	"testing"

	"github.com/fastlb/fastlb/ring"
)

// BenchmarkCrossing sends batches of packets by a port with a UMEM of its own: from its own frames and, copied, from those
// of another UMEM. The difference is what crossing costs; an op is a packet.
func BenchmarkCrossing(b *testing.B) {
	const batch, frames = 64, 4096
	for _, size := range []uint32{64, 1500} {
		for from, name := range []string{"own", "copied"} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				mem := make([]byte, 2*frames*ring.FrameSize)
				parts, err := ring.NewParts(mem, frames, frames)
				if err != nil {
					b.Fatal(err)
				}
				s, k, err := ring.NewMemory(parts.Part(0), ring.Sizes{})
				if err != nil {
					b.Fatal(err)
				}
				port := ring.NewCrossing(s, parts, 0, batch)
				base := uint64(from * frames * ring.FrameSize)
				var d, taken [batch]ring.Desc
				var sent [batch]uint64
				b.ReportAllocs()
				for n := 0; n < b.N; n += batch {
					for i := range d {
						f, _ := parts.Part(from).Get()
						d[i] = ring.Desc{Addr: base + f + ring.Headroom, Len: size}
					}
					if port.Transmit(d[:]) != batch || k.Take(taken[:]) != batch {
						b.Fatal("not all was taken")
					}
					for i := range taken {
						sent[i] = taken[i].Addr
					}
					k.Feed(sent[:])
					port.Complete(parts.Frames)
				}
			})
		}
	}
}
