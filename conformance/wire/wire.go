package wire

// Case is a life of one director, from an empty table on.
type Case struct {
	Name  string `json:"name"`
	Steps []Step `json:"steps"`
}

// Step is one thing that happens to a director. Exactly one of Frames, Command and Wait is set.
type Step struct {
	Text    string   `json:"text"`              // what the author of the case meant, for people
	Side    string   `json:"side,omitempty"`    // "c" or "r": the wire that Frames are put on
	Frames  [][]byte `json:"frames,omitempty"`  // whole Ethernet frames
	Command []string `json:"command,omitempty"` // ipvsadm ARGS, tunable NAME VALUE, mtu INTERFACE N, mark N ADDRESS PROTO PORT
	Wait    int64    `json:"wait,omitempty"`    // milliseconds
}

// Outcome is what came of a step.
type Outcome struct {
	At     int64   `json:"at"` // microseconds since the case began
	Sent   []Frame `json:"sent,omitempty"`
	Stdout string  `json:"stdout,omitempty"`
	Stderr string  `json:"stderr,omitempty"`
	Status int     `json:"status,omitempty"`
}

// Frame is a frame that the director sent. Order is kept on each side, not between them.
type Frame struct {
	Side string `json:"side"`
	Data []byte `json:"data"`
}

// Result is the outcome of a case, or what kept the guest from playing it.
type Result struct {
	Name     string    `json:"name"`
	Outcomes []Outcome `json:"outcomes"`
	Error    string    `json:"error,omitempty"`
}
