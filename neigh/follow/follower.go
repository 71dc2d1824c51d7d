package follow

import (
	"net/netip"

	"github.com/fastlb/fastlb/neigh"
)

// Options of Start. All are optional.
type Options struct {
	// Neighbors are static: they stand whatever the kernel says.
	Neighbors map[netip.Addr][6]byte
	// Changed is called after every new snapshot, on the follower's goroutine; it must not block.
	Changed func(*neigh.Snapshot)
	// Fault is told of what went wrong and was survived: a lost event buffer, a failed dump, a policy rule that the
	// dataplane cannot heed. It must not block.
	Fault func(error)
}

func (o *Options) changed(s *neigh.Snapshot) {
	if o.Changed != nil {
		o.Changed(s)
	}
}

func (o *Options) fault(err error) {
	if o.Fault != nil {
		o.Fault(err)
	}
}
