package flow

import "github.com/fastlb/fastlb/internal/clock"

// IP protocol numbers whose states the table knows.
const (
	protoTCP  = 6
	protoUDP  = 17
	protoSCTP = 132
)

// Timeouts is how long a connection lives after its last packet, by protocol and state, in nanoseconds.
type Timeouts struct {
	TCP  [TCPStates]int64
	UDP  int64
	SCTP [SCTPStates]int64
}

const second = int64(clock.Second)

// NewTimeout is a connection's timeout before its first packet went through the state machine (spec/connections.md 2.6),
// KeepTimeout that for which an expired one is kept that still controls others.
const (
	NewTimeout  = 3 * second
	KeepTimeout = 60 * second
)

// DefaultTimeouts are LVS's (spec/connections.md 4.1, 7.1, 7.2).
func DefaultTimeouts() Timeouts {
	return Timeouts{
		TCP: [TCPStates]int64{
			TCPNone: 2 * second, TCPEstablished: 900 * second, TCPSynSent: 120 * second, TCPSynRecv: 60 * second,
			TCPFinWait: 120 * second, TCPTimeWait: 120 * second, TCPClose: 10 * second, TCPCloseWait: 60 * second,
			TCPLastAck: 30 * second, TCPListen: 120 * second, TCPSynAck: 120 * second,
		},
		UDP: 300 * second,
		SCTP: [SCTPStates]int64{
			SCTPNone: 2 * second, SCTPInit1: 4 * second, SCTPInitState: 61 * second, SCTPCookieSent: 61 * second,
			SCTPCookieReplied: 61 * second, SCTPCookieWait: 61 * second, SCTPCookieState: 61 * second,
			SCTPCookieEchoed: 61 * second, SCTPEstablished: 900 * second, SCTPShutdownSent: 61 * second,
			SCTPShutdownReceived: 61 * second, SCTPShutdownAckSent: 61 * second, SCTPRejected: 4 * second,
			SCTPClosed: 61 * second,
		},
	}
}

// Of is the timeout of a protocol's state. A protocol without states of its own has UDP's.
func (t *Timeouts) Of(proto, state uint8) int64 {
	switch {
	case proto == protoTCP && state < TCPStates:
		return t.TCP[state]
	case proto == protoSCTP && state < SCTPStates:
		return t.SCTP[state]
	}
	return t.UDP
}

// Active tells whether a connection of this protocol in this state counts as active at its server.
func Active(proto, state uint8) bool {
	switch proto {
	case protoTCP:
		return TCPActive(state)
	case protoSCTP:
		return SCTPActive(state)
	}
	return false
}

var tcpNames = [TCPStates]string{
	"NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN",
	"SYNACK",
}

var sctpNames = [SCTPStates]string{
	"NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED", "ESTABLISHED", "S-SENT",
	"S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED",
}

// StateName is the state as listings show it. A template's is NONE or ASSURED.
func StateName(proto, state uint8, template, assured bool) string {
	switch {
	case template && assured:
		return "ASSURED"
	case template:
		return "NONE"
	case proto == protoTCP && state < TCPStates:
		return tcpNames[state]
	case proto == protoUDP && state == 0:
		return "UDP"
	case proto == protoSCTP && state < SCTPStates:
		return sctpNames[state]
	}
	return "NONE"
}
