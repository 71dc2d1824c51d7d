// Package wire is what the two halves of the differential test have in common: the site that every case is played on,
// and the form of cases and outcomes. The guest's program imports it and nothing else of the module, so that what it
// records owes nothing to the code that is judged.
//
// A case is a list of steps; each step puts frames on a wire, runs a command, or lets time pass. Its outcome is what the
// director sent and printed in that step. Both travel as lines of JSON.
package wire
