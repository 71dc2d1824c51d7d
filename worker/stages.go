package worker

// Stage is a part of a round, for whoever wants to know where the time goes.
type Stage uint8

// The stages in the order of a round. Rewrite is the decision about each packet, its state and counts included; Transmit
// is what is left: timers, the sweep, the rings of sending.
const (
	StageReceive Stage = iota
	StageParse
	StageLookup
	StageRewrite
	StageTransmit
	Stages
)

func (s Stage) String() string {
	return [...]string{"receive", "parse", "lookup", "rewrite", "transmit"}[s]
}

// Profile adds up the time that the stages of a worker take. Clock is the caller's, in nanoseconds.
type Profile struct {
	Clock func() int64
	Spent [Stages]int64 // nanoseconds
	Laps  [Stages]int64 // how often each ended; each time has the cost of one reading of the clock in it
	last  int64
}

// SetProfile makes the worker fill in p from the next round on; nil stops it. A profile costs a reading of its clock per
// stage and round, and nothing while there is none.
func (w *Worker) SetProfile(p *Profile) {
	w.profile = p
	if p != nil {
		p.last = p.Clock()
	}
}

// Begin starts a profile's clock anew: what happened since the last stage is not the worker's.
func (p *Profile) Begin() { p.last = p.Clock() }

// lap ends a stage.
func (w *Worker) lap(s Stage) {
	if w.profile != nil {
		w.profile.lap(s)
	}
}

func (p *Profile) lap(s Stage) {
	now := p.Clock()
	p.Spent[s] += now - p.last
	p.Laps[s]++
	p.last = now
}
