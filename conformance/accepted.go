package conformance

import "strings"

// accepted is a difference that is understood and stays.
type accepted struct {
	shown  string // the fixed case that shows it in every run
	why    string
	covers func(d *Difference) bool
}

var acceptedDifferences = []accepted{}

// acceptance is why a difference may stay, or "".
func acceptance(d *Difference) string {
	for i := range acceptedDifferences {
		if acceptedDifferences[i].covers(d) {
			return acceptedDifferences[i].why
		}
	}
	return ""
}

// Healed are the accepted differences that their cases, all of them played, no longer show.
func Healed(played map[string]bool, found []Difference) (l []string) {
	for i := range acceptedDifferences {
		a := &acceptedDifferences[i]
		shown := false
		for j := range found {
			shown = shown || found[j].Case == a.shown && a.covers(&found[j])
		}
		if played[a.shown] && !shown {
			l = append(l, "accepted, but "+a.shown+" shows it no longer: "+strings.TrimSpace(a.why))
		}
	}
	return l
}
