//go:build !fastlb_debug

package ring

// audit checks nothing in release builds and compiles to nothing.
type audit struct{}

func newAudit(int) audit { return audit{} }

func (audit) move(uint64, owner, owner)      {}
func (audit) moveDescs([]Desc, owner, owner) {}
