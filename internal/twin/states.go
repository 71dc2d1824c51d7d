package twin

import "strings"

// The TCP states by number, as listings name them; abbr as the tables below do.
var stateNames = []string{"NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "SYNACK"}

const stateAbbr = "NO ES SS SR FW TW CL CW LA LI SA"

const (
	stEstablished = 1
	stFinWait     = 4
	stTimeWait    = 5
	stClose       = 6
)

// Rows as in connections.md 4.2: current states across, the event's row gives the next one.
var tables = map[string]map[string]string{
	"input": {
		"syn": "SR ES ES SR SR SR SR SR SR SR SR",
		"fin": "CL CW SS TW TW TW CL CW LA LI TW",
		"ack": "ES ES SS ES FW TW CL CW CL LI ES",
		"rst": "CL CL CL SR CL CL CL CL LA LI SR",
	},
	"output": {
		"syn": "SS ES SS SR SS SS SS SS SS LI SR",
		"fin": "TW FW SS TW FW TW CL TW LA LI TW",
		"ack": "ES ES SS ES FW TW CL CW LA ES ES",
		"rst": "CL CL SS CL CL TW CL CL CL CL CL",
	},
	"input only": {
		"syn": "SR ES ES SR SR SR SR SR SR SR SR",
		"fin": "CL FW SS TW FW TW CL CW LA LI TW",
		"ack": "ES ES SS ES FW TW CL CW CL LI ES",
		"rst": "CL CL CL SR CL CL CL CL LA LI CL",
	},
}

// nextState looks the next TCP state up.
func nextState(table string, flags, state int) int {
	event := ""
	switch {
	case flags&flagRST != 0:
		event = "rst"
	case flags&flagSYN != 0:
		event = "syn"
	case flags&flagFIN != 0:
		event = "fin"
	case flags&flagACK != 0:
		event = "ack"
	default:
		return stClose
	}
	abbr := strings.Fields(tables[table][event])[state]
	for i, a := range strings.Fields(stateAbbr) {
		if a == abbr {
			return i
		}
	}
	panic("twin: no state " + abbr)
}

// isActive tells whether a state counts as active: ES, SS, SR and SA do.
func isActive(state int) bool { return state == 1 || state == 2 || state == 3 || state == 10 }
