//go:build !amd64 || race

package worker

import (
	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/ring"
)

const hasVector = false

func parseVector(*byte, uint64, *ring.Desc, int, *packet.Parsed, *flow.Probe) (bytes uint64, rest int) {
	return 0, 0
}
