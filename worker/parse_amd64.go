//go:build !race

package worker

import (
	"golang.org/x/sys/cpu"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/ring"
)

// hasVector says that parseVector may be used.
var hasVector = cpu.X86.HasAVX

// parseVector is packet.Parse for n descriptors' packets, where they are what nearly all are: untagged, whole TCP or UDP in
// IPv4 without options or in IPv6 without extension headers. The others get Kind unparsed and are counted in rest. bytes
// is the sum of all lengths. Key and Parsed are written by a few shuffles; see docs/performance/hot-tries.md.
//
//go:noescape
func parseVector(mem *byte, size uint64, d *ring.Desc, n int, parsed *packet.Parsed, probes *flow.Probe) (bytes uint64, rest int)
