package flow

// TCP states, numbered as LVS numbers them: the numbers go on the wire in sync messages (spec/connections.md 4.1).
const (
	TCPNone        uint8 = 0
	TCPEstablished uint8 = 1
	TCPSynSent     uint8 = 2
	TCPSynRecv     uint8 = 3
	TCPFinWait     uint8 = 4
	TCPTimeWait    uint8 = 5
	TCPClose       uint8 = 6
	TCPCloseWait   uint8 = 7
	TCPLastAck     uint8 = 8
	TCPListen      uint8 = 9
	TCPSynAck      uint8 = 10

	TCPStates = 11
)

// Row is which of a state table's three parts applies to a packet.
type Row uint8

const (
	Input     Row = 0 // client to server
	Output    Row = 1 // server to client
	InputOnly Row = 2 // client to server, while no reply has been seen (FlagNoOutput)
)

// RowOf is the row for a packet of direction d on a connection with these flags, and the flags afterwards: a reply clears
// FlagNoOutput (spec/connections.md 4.1) and sets FlagReplied.
func RowOf(d Dir, flags uint32) (Row, uint32) {
	if d == Out {
		return Output, flags&^FlagNoOutput | FlagReplied
	}
	if flags&FlagNoOutput != 0 {
		return InputOnly, flags
	}
	return Input, flags
}

// TCP flags, RFC 9293 3.1.
const (
	tcpFIN = 0x01
	tcpSYN = 0x02
	tcpRST = 0x04
	tcpACK = 0x10
)

// The events of the tables, by falling priority.
const (
	eventRST = iota
	eventSYN
	eventFIN
	eventACK
	tcpEvents
)

// NextTCP is the state that a packet with these TCP flags leads to. Secure chooses the table of the secure_tcp defence.
// A packet with none of RST, SYN, FIN, ACK leads to CLOSE from every state.
//
//fastlb:hot
func NextTCP(row Row, flags, state uint8, secure bool) uint8 {
	var event int
	switch {
	case flags&tcpRST != 0:
		event = eventRST
	case flags&tcpSYN != 0:
		event = eventSYN
	case flags&tcpFIN != 0:
		event = eventFIN
	case flags&tcpACK != 0:
		event = eventACK
	default:
		return TCPClose
	}
	if row > InputOnly || state >= TCPStates {
		return TCPClose
	}
	if secure {
		return tcpSecure[row][event][state]
	}
	return tcpNormal[row][event][state]
}

// TCPActive tells whether a connection in this state counts as active at its server (spec/connections.md 4.1).
func TCPActive(state uint8) bool {
	switch state {
	case TCPEstablished, TCPSynSent, TCPSynRecv, TCPSynAck:
		return true
	}
	return false
}

type tcpTable [3][tcpEvents][TCPStates]uint8

// Short names, so that the tables can be held against spec/connections.md 4.2 and 4.3.
const (
	tNO = TCPNone
	tES = TCPEstablished
	tSS = TCPSynSent
	tSR = TCPSynRecv
	tFW = TCPFinWait
	tTW = TCPTimeWait
	tCL = TCPClose
	tCW = TCPCloseWait
	tLA = TCPLastAck
	tLI = TCPListen
	tSA = TCPSynAck
)

// Columns: NO ES SS SR FW TW CL CW LA LI SA.
var tcpNormal = tcpTable{
	Input: {
		//       NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA
		eventSYN: {tSR, tES, tES, tSR, tSR, tSR, tSR, tSR, tSR, tSR, tSR},
		eventFIN: {tCL, tCW, tSS, tTW, tTW, tTW, tCL, tCW, tLA, tLI, tTW},
		eventACK: {tES, tES, tSS, tES, tFW, tTW, tCL, tCW, tCL, tLI, tES},
		eventRST: {tCL, tCL, tCL, tSR, tCL, tCL, tCL, tCL, tLA, tLI, tSR},
	},
	Output: {
		//       NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA
		eventSYN: {tSS, tES, tSS, tSR, tSS, tSS, tSS, tSS, tSS, tLI, tSR},
		eventFIN: {tTW, tFW, tSS, tTW, tFW, tTW, tCL, tTW, tLA, tLI, tTW},
		eventACK: {tES, tES, tSS, tES, tFW, tTW, tCL, tCW, tLA, tES, tES},
		eventRST: {tCL, tCL, tSS, tCL, tCL, tTW, tCL, tCL, tCL, tCL, tCL},
	},
	InputOnly: {
		//       NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA
		eventSYN: {tSR, tES, tES, tSR, tSR, tSR, tSR, tSR, tSR, tSR, tSR},
		eventFIN: {tCL, tFW, tSS, tTW, tFW, tTW, tCL, tCW, tLA, tLI, tTW},
		eventACK: {tES, tES, tSS, tES, tFW, tTW, tCL, tCW, tCL, tLI, tES},
		eventRST: {tCL, tCL, tCL, tSR, tCL, tCL, tCL, tCL, tLA, tLI, tCL},
	},
}

var tcpSecure = tcpTable{
	Input: {
		//       NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA
		eventSYN: {tSR, tES, tES, tSR, tSR, tSR, tSR, tSR, tSR, tSR, tSA},
		eventFIN: {tCL, tCW, tSS, tTW, tTW, tTW, tCL, tCW, tLA, tLI, tSA},
		eventACK: {tES, tES, tSS, tSR, tFW, tTW, tCL, tCW, tCL, tLI, tSA},
		eventRST: {tCL, tCL, tCL, tSR, tCL, tCL, tCL, tCL, tLA, tLI, tCL},
	},
	Output: {
		//       NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA
		eventSYN: {tSS, tES, tSS, tSA, tSS, tSS, tSS, tSS, tSS, tLI, tSA},
		eventFIN: {tTW, tFW, tSS, tTW, tFW, tTW, tCL, tTW, tLA, tLI, tTW},
		eventACK: {tES, tES, tSS, tES, tFW, tTW, tCL, tCW, tLA, tES, tES},
		eventRST: {tCL, tCL, tSS, tCL, tCL, tTW, tCL, tCL, tCL, tCL, tCL},
	},
	InputOnly: {
		//       NO   ES   SS   SR   FW   TW   CL   CW   LA   LI   SA
		eventSYN: {tSA, tES, tES, tSR, tSA, tSA, tSA, tSA, tSA, tSA, tSA},
		eventFIN: {tCL, tFW, tSS, tTW, tFW, tTW, tCL, tCW, tLA, tLI, tTW},
		eventACK: {tES, tES, tSS, tES, tFW, tTW, tCL, tCW, tCL, tLI, tES},
		eventRST: {tCL, tCL, tCL, tSR, tCL, tCL, tCL, tCL, tLA, tLI, tCL},
	},
}
