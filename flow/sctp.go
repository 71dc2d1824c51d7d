package flow

// SCTP states, numbered as LVS numbers them (spec/connections.md 7.2).
const (
	SCTPNone             uint8 = 0
	SCTPInit1            uint8 = 1
	SCTPInitState        uint8 = 2
	SCTPCookieSent       uint8 = 3
	SCTPCookieReplied    uint8 = 4
	SCTPCookieWait       uint8 = 5
	SCTPCookieState      uint8 = 6
	SCTPCookieEchoed     uint8 = 7
	SCTPEstablished      uint8 = 8
	SCTPShutdownSent     uint8 = 9
	SCTPShutdownReceived uint8 = 10
	SCTPShutdownAckSent  uint8 = 11
	SCTPRejected         uint8 = 12
	SCTPClosed           uint8 = 13

	SCTPStates = 14
)

// SCTPEvent is what the first chunks of a packet mean to the state machine.
type SCTPEventType uint8

const (
	SCTPData             SCTPEventType = iota // DATA, SACK, HEARTBEAT … and every unknown type
	SCTPInit                                  // INIT
	SCTPInitAck                               // INIT ACK
	SCTPCookieEcho                            // COOKIE ECHO
	SCTPCookieAck                             // COOKIE ACK
	SCTPShutdown                              // SHUTDOWN
	SCTPShutdownAck                           // SHUTDOWN ACK
	SCTPShutdownComplete                      // SHUTDOWN COMPLETE
	SCTPError                                 // ERROR
	SCTPAbort                                 // ABORT
	sctpEvents
)

// SCTPEvent reads the event from a packet's chunks, that is, from the byte after the 12 of the common header (RFC 9260
// 3). A COOKIE ECHO or COOKIE ACK followed by an ABORT is an abort. Too short to hold a chunk header: false; the state
// stays as it is.
func SCTPEvent(chunks []byte) (SCTPEventType, bool) {
	if len(chunks) < 4 {
		return SCTPData, false
	}
	e := sctpChunk(chunks[0])
	if e == SCTPCookieEcho || e == SCTPCookieAck {
		next := (int(chunks[2])<<8 | int(chunks[3]) + 3) &^ 3
		if next >= 4 && next+4 <= len(chunks) && sctpChunk(chunks[next]) == SCTPAbort {
			return SCTPAbort, true
		}
	}
	return e, true
}

func sctpChunk(t byte) SCTPEventType {
	switch t {
	case 1:
		return SCTPInit
	case 2:
		return SCTPInitAck
	case 6:
		return SCTPAbort
	case 7:
		return SCTPShutdown
	case 8:
		return SCTPShutdownAck
	case 9:
		return SCTPError
	case 10:
		return SCTPCookieEcho
	case 11:
		return SCTPCookieAck
	case 14:
		return SCTPShutdownComplete
	}
	return SCTPData
}

// NextSCTP is the state that an event leads to.
//
//fastlb:hot
func NextSCTP(row Row, event SCTPEventType, state uint8) uint8 {
	if row > InputOnly || event >= sctpEvents || state >= SCTPStates {
		return SCTPClosed
	}
	return sctpTable[row][event][state]
}

// SCTPActive tells whether an association in this state counts as active at its server.
func SCTPActive(state uint8) bool { return state == SCTPEstablished }

// Short names, so that the table can be held against spec/connections.md 7.2.
const (
	sNO = SCTPNone
	sI1 = SCTPInit1
	sIN = SCTPInitState
	sCS = SCTPCookieSent
	sCR = SCTPCookieReplied
	sCW = SCTPCookieWait
	sCO = SCTPCookieState
	sCE = SCTPCookieEchoed
	sES = SCTPEstablished
	sSS = SCTPShutdownSent
	sSR = SCTPShutdownReceived
	sSA = SCTPShutdownAckSent
	sRJ = SCTPRejected
	sCL = SCTPClosed
)

// Columns: NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL.
var sctpTable = [3][sctpEvents][SCTPStates]uint8{
	Input: {
		//       NO   I1   IN   CS   CR   CW   CO   CE   ES   SS   SR   SA   RJ   CL
		SCTPData:             {sES, sI1, sIN, sCS, sCR, sCW, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPInit:             {sI1, sIN, sIN, sCS, sCR, sCW, sCO, sCE, sES, sSS, sSR, sSA, sIN, sIN},
		SCTPInitAck:          {sCW, sCW, sCW, sCS, sCR, sCO, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPCookieEcho:       {sCR, sIN, sIN, sCR, sCR, sCW, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPCookieAck:        {sES, sI1, sIN, sCS, sCR, sCW, sCO, sES, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPShutdown:         {sSR, sI1, sIN, sCS, sCR, sCW, sCO, sCE, sSR, sSS, sSR, sSA, sRJ, sCL},
		SCTPShutdownAck:      {sCL, sIN, sIN, sCS, sCR, sCW, sCO, sCE, sES, sCL, sSR, sCL, sRJ, sCL},
		SCTPShutdownComplete: {sCL, sCL, sCL, sCS, sCR, sCW, sCO, sCE, sES, sSS, sSR, sCL, sRJ, sCL},
		SCTPError:            {sCL, sI1, sIN, sCS, sCR, sCW, sCO, sCL, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPAbort:            {sCL, sCL, sCL, sCL, sCL, sRJ, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
	},
	Output: {
		//       NO   I1   IN   CS   CR   CW   CO   CE   ES   SS   SR   SA   RJ   CL
		SCTPData:             {sES, sI1, sIN, sCS, sCR, sCW, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPInit:             {sCW, sCW, sCW, sCW, sCW, sCW, sCW, sCW, sES, sCW, sCW, sCW, sCW, sCW},
		SCTPInitAck:          {sCS, sCS, sCS, sCS, sCR, sCW, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPCookieEcho:       {sCE, sCE, sCE, sCE, sCE, sCE, sCE, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPCookieAck:        {sES, sES, sES, sES, sES, sES, sES, sES, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPShutdown:         {sSS, sSS, sSS, sSS, sSS, sSS, sSS, sSS, sSS, sSS, sSR, sSA, sRJ, sCL},
		SCTPShutdownAck:      {sSA, sSA, sSA, sSA, sSA, sCW, sCO, sCE, sES, sSA, sSA, sSA, sRJ, sCL},
		SCTPShutdownComplete: {sCL, sI1, sIN, sCS, sCR, sCW, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPError:            {sCL, sCL, sCL, sCL, sCL, sCW, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPAbort:            {sCL, sRJ, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
	},
	InputOnly: {
		//       NO   I1   IN   CS   CR   CW   CO   CE   ES   SS   SR   SA   RJ   CL
		SCTPData:             {sES, sI1, sIN, sCS, sCR, sES, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPInit:             {sI1, sIN, sIN, sIN, sIN, sIN, sCO, sCE, sES, sSS, sSR, sSA, sIN, sIN},
		SCTPInitAck:          {sCE, sCE, sCE, sCE, sCE, sCE, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPCookieEcho:       {sES, sES, sES, sES, sES, sES, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPCookieAck:        {sES, sI1, sIN, sES, sES, sCW, sES, sES, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPShutdown:         {sSR, sI1, sIN, sCS, sCR, sCW, sCO, sCE, sSR, sSS, sSR, sSA, sRJ, sCL},
		SCTPShutdownAck:      {sCL, sIN, sIN, sCS, sCR, sCW, sCO, sCE, sCL, sCL, sSR, sCL, sRJ, sCL},
		SCTPShutdownComplete: {sCL, sCL, sCL, sCL, sCL, sCW, sCO, sCE, sES, sSS, sCL, sCL, sRJ, sCL},
		SCTPError:            {sCL, sI1, sIN, sCS, sCR, sCW, sCO, sCE, sES, sSS, sSR, sSA, sRJ, sCL},
		SCTPAbort:            {sCL, sCL, sCL, sCL, sCL, sRJ, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
	},
}
