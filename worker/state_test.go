package worker

import (
	"testing"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// A connection knows the timeout that it was last armed with: control tells its age by it.
func TestTimeoutKept(t *testing.T) {
	r := newRig(t, 1)
	r.service(service.TCP, "10.9.0.1", 80, service.DR, "10.2.0.11")
	for _, flags := range []uint8{packet.SYN, packet.ACK, packet.ACK} {
		r.now += clock.Second
		r.in(0, tcp("10.1.0.1", 1000, "10.9.0.1", 80, flags, 0))
	}
	r.flows.Walk(func(_ flow.Ref, c *flow.Conn) bool {
		if c.Timeout != r.timeouts.TCP[flow.TCPEstablished] || c.Deadline-c.Timeout != int64(r.now) {
			t.Errorf("timeout %d, deadline %d at %d", c.Timeout, c.Deadline, r.now)
		}
		return true
	})
}
