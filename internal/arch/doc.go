// Package arch holds the rules of the source tree as tests: which package may import which, where unsafe and the clock may
// appear, that each folder documents itself once, that hot functions stay free of allocations, inlined and light on bounds
// checks, and that the documents' tables match the tree. It has no code of its own; nothing imports it.
//
// A red test here means one of two things: the change breaks a rule, or the rule has to change. For the latter edit the
// table in the test, with the reason beside it, and write a decision in docs/decisions when it is an arrow.
//
// Figures that may only improve (bounds checks) are in testdata; `go test ./internal/arch -update` writes them anew.
package arch
