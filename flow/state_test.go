package flow

import (
	"strings"
	"testing"

	"github.com/fastlb/fastlb/packet"
)

var tcpAbbr = strings.Fields("NO ES SS SR FW TW CL CW LA LI SA")
var sctpAbbr = strings.Fields("NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL")

// The worked traces of spec/connections.md 4.5. A step is C or S and the flags.
func TestTCPTraces(t *testing.T) {
	for _, c := range []struct {
		nat, secure  bool
		steps, state string
	}{
		{true, false, "C:S S:SA C:A C:F S:FA C:A", "SR SR ES CW TW TW"},
		{true, false, "C:S S:SA C:A S:F C:FA S:A", "SR SR ES FW TW TW"},
		{true, false, "C:S S:RA", "SR CL"},
		{true, true, "C:S C:A", "SR SR"},
		{true, true, "C:S S:SA C:A S:A", "SR SA SA ES"},
		{false, false, "C:S C:A C:A C:F C:A", "SR ES ES FW FW"},
		{false, false, "C:S C:R", "SR SR"},
		{false, false, "C:S C:A C:R", "SR ES CL"},
		{false, true, "C:S C:S C:A", "SA SA ES"},
		{true, false, "C:S C:S", "SR SR"},
		{true, false, "C:S C:P", "SR CL"},
	} {
		flags := uint32(0)
		if !c.nat {
			flags = FlagNoOutput
		}
		state := TCPNone
		var got []string
		for _, step := range strings.Fields(c.steps) {
			var row Row
			row, flags = RowOf(dirOf(step), flags)
			var f uint8
			for _, l := range step[2:] {
				f |= map[rune]uint8{'S': packet.SYN, 'A': packet.ACK, 'F': packet.FIN, 'R': packet.RST, 'P': packet.PSH}[l]
			}
			state = NextTCP(row, f, state, c.secure)
			got = append(got, tcpAbbr[state])
		}
		if g := strings.Join(got, " "); g != c.state {
			t.Errorf("%s (nat %v, secure %v): %s, want %s", c.steps, c.nat, c.secure, g, c.state)
		}
	}
}

func dirOf(step string) Dir {
	if step[0] == 'S' {
		return Out
	}
	return In
}

func TestSCTPTraces(t *testing.T) {
	chunk := map[string]byte{"DATA": 0, "INIT": 1, "INIT-ACK": 2, "SHUTDOWN": 7, "SHUTDOWN-ACK": 8, "COOKIE-ECHO": 10, "COOKIE-ACK": 11, "SHUTDOWN-COMPLETE": 14}
	for _, c := range []struct {
		nat          bool
		steps, state string
	}{
		{true, "C:INIT S:INIT-ACK C:COOKIE-ECHO S:COOKIE-ACK C:SHUTDOWN S:SHUTDOWN-ACK C:SHUTDOWN-COMPLETE", "I1 CS CR ES SR SA CL"},
		{false, "C:INIT C:COOKIE-ECHO C:SHUTDOWN C:SHUTDOWN-COMPLETE", "I1 ES SR CL"},
	} {
		flags := uint32(0)
		if !c.nat {
			flags = FlagNoOutput
		}
		state := SCTPNone
		var got []string
		for _, step := range strings.Fields(c.steps) {
			var row Row
			row, flags = RowOf(dirOf(step), flags)
			e, ok := SCTPEvent([]byte{chunk[step[2:]], 0, 0, 4})
			if !ok {
				t.Fatalf("no event in %s", step)
			}
			state = NextSCTP(row, e, state)
			got = append(got, sctpAbbr[state])
		}
		if g := strings.Join(got, " "); g != c.state {
			t.Errorf("%s: %s, want %s", c.steps, g, c.state)
		}
	}
}

func TestSCTPEvent(t *testing.T) {
	for _, c := range []struct {
		bytes []byte
		event SCTPEventType
		ok    bool
	}{
		{[]byte{10, 0, 0, 5, 1, 0, 0, 0, 6, 0, 0, 4}, SCTPAbort, true},      // COOKIE ECHO of 5 bytes, padded, then ABORT
		{[]byte{11, 0, 0, 4, 6, 0, 0, 4}, SCTPAbort, true},                  // COOKIE ACK, ABORT
		{[]byte{10, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 4}, SCTPCookieEcho, true}, // then DATA
		{[]byte{10, 0, 0xff, 0xff}, SCTPCookieEcho, true},                   // a length beyond the packet
		{[]byte{10, 0, 0, 0, 6, 0, 0, 4}, SCTPCookieEcho, true},             // no length at all
		{[]byte{0, 0, 0, 4, 6, 0, 0, 4}, SCTPData, true},                    // only cookies look further
		{[]byte{3, 0, 0, 4}, SCTPData, true},
		{[]byte{200, 0, 0, 4}, SCTPData, true},
		{[]byte{1, 0, 0}, SCTPData, false},
	} {
		if e, ok := SCTPEvent(c.bytes); e != c.event || ok != c.ok {
			t.Errorf("%v: event %d %v, want %d %v", c.bytes, e, ok, c.event, c.ok)
		}
	}
}

func TestStatesAndNames(t *testing.T) {
	def := DefaultTimeouts()
	for _, c := range []struct {
		proto, state uint8
		name         string
		seconds      int64
		active       bool
	}{
		{6, TCPNone, "NONE", 2, false}, {6, TCPEstablished, "ESTABLISHED", 900, true}, {6, TCPSynSent, "SYN_SENT", 120, true},
		{6, TCPSynRecv, "SYN_RECV", 60, true}, {6, TCPFinWait, "FIN_WAIT", 120, false}, {6, TCPTimeWait, "TIME_WAIT", 120, false},
		{6, TCPClose, "CLOSE", 10, false}, {6, TCPCloseWait, "CLOSE_WAIT", 60, false}, {6, TCPLastAck, "LAST_ACK", 30, false},
		{6, TCPListen, "LISTEN", 120, false}, {6, TCPSynAck, "SYNACK", 120, true}, {17, 0, "UDP", 300, false},
		{132, SCTPInit1, "INIT1", 4, false}, {132, SCTPEstablished, "ESTABLISHED", 900, true}, {132, SCTPRejected, "REJECTED", 4, false},
		{132, SCTPClosed, "CLOSED", 61, false}, {132, SCTPNone, "NONE", 2, false}, {132, SCTPShutdownAckSent, "S-ACK-SENT", 61, false},
	} {
		if n := StateName(c.proto, c.state, false, false); n != c.name {
			t.Errorf("state %d of protocol %d is %s, want %s", c.state, c.proto, n, c.name)
		}
		if d := def.Of(c.proto, c.state); d != c.seconds*second {
			t.Errorf("%s times out after %d ns, want %d s", c.name, d, c.seconds)
		}
		if Active(c.proto, c.state) != c.active {
			t.Errorf("%s active: %v", c.name, !c.active)
		}
	}
	if StateName(0, 0, true, true) != "ASSURED" || StateName(6, 1, true, false) != "NONE" {
		t.Error("template's state names")
	}
}

// No input leads out of the tables.
func TestStatesStayInRange(t *testing.T) {
	for row := range Row(4) {
		for v := range 256 {
			for state := range uint8(20) {
				if s := NextTCP(row, uint8(v), state, v%2 == 0); s >= TCPStates {
					t.Fatalf("TCP row %d flags %x state %d: %d", row, v, state, s)
				}
				if s := NextSCTP(row, SCTPEventType(v), state); s >= SCTPStates {
					t.Fatalf("SCTP row %d event %d state %d: %d", row, v, state, s)
				}
			}
		}
	}
}
