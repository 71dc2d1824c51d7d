package replay

import (
	"strings"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/scenario/frame"
)

// TestAges: what active connections are made of follows their packets, whatever their states' timeouts are.
func TestAges(t *testing.T) {
	e := fuzzSite(t, 1)
	send := func(at clock.Time, line string) {
		s, err := frame.Parse(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		packets, err := s.Packets(nil)
		if err != nil {
			t.Fatal(err)
		}
		e.Receive("eth0", at, frame.Ethernet(macA, macB, packets[0]))
	}
	begin := 100 * clock.Second
	for _, client := range []string{"198.51.100.7:1", "198.51.100.7:2", "198.51.100.7:3"} {
		send(begin, "tcp "+client+" > 192.0.2.10:80 S")
		send(begin, "tcp "+client+" > 192.0.2.10:80 A")
	}
	send(begin+50*clock.Second, "tcp 198.51.100.7:2 > 192.0.2.10:80 A")
	send(begin+75*clock.Second, "tcp 198.51.100.7:3 > 192.0.2.10:80 A")
	e.Advance(begin + 80*clock.Second)
	if got := e.control.ActiveAges(e.Now())[0]; got.Recent != 1 || got.Minute != 1 || got.Longer != 1 {
		t.Errorf("%+v, want one of each", got)
	}
}
