package director

import (
	"slices"

	"github.com/fastlb/fastlb/ring"
	"github.com/fastlb/fastlb/worker"
)

// layout says which NICs share a UMEM in each worker, and how they exchange frames with it. A frame that is received by a
// NIC and leaves by one of the same UMEM is not copied by the worker.
type layout []group

// group is the NICs of one UMEM, by number, ascending: the first one's socket registers it, and the others' follow.
type group struct {
	nics []int
	bind ring.Bind
}

// firstLayout is the best that may be: one UMEM for all NICs that zero copy is to be tried on, one for those that copy.
// apart gives each NIC its own.
func firstLayout(try []bool, apart bool) (l layout) {
	for nic, zero := range try {
		bind := ring.BindCopy
		if zero {
			bind = ring.BindZeroCopy
		}
		l = l.with(nic, bind, apart)
	}
	return l
}

// with adds a NIC to the group of its kind, or to one of its own.
func (l layout) with(nic int, bind ring.Bind, apart bool) layout {
	for i := range l {
		if !apart && l[i].bind == bind {
			l[i].nics = append(l[i].nics, nic)
			slices.Sort(l[i].nics)
			return l
		}
	}
	return append(l, group{[]int{nic}, bind})
}

// without takes a NIC out, and its group if it was the last one there.
func (l layout) without(nic int) (out layout) {
	for _, g := range l {
		nics := slices.DeleteFunc(slices.Clone(g.nics), func(n int) bool { return n == nic })
		if len(nics) > 0 {
			out = append(out, group{nics, g.bind})
		}
	}
	return out
}

// of is the number of a NIC's group.
func (l layout) of(nic int) int {
	return slices.IndexFunc(l, func(g group) bool { return slices.Contains(g.nics, nic) })
}

// refused is the next best layout after a NIC's driver has refused its part in l. One that was to share another's UMEM for
// zero copy may do it with its own; then it has to copy. false: there is no other way.
func (l layout) refused(nic int) (layout, bool) {
	g := l[l.of(nic)]
	switch {
	case g.bind == ring.BindCopy:
		return l, false
	case g.nics[0] != nic:
		return append(l.without(nic), group{[]int{nic}, ring.BindZeroCopy}), true
	}
	return l.without(nic).with(nic, ring.BindCopy, false), true
}

// spareFrames are for what a worker holds outside of its rings: what waits for neighbours, and what it makes itself.
const spareFrames = 1024

// frames is how many each group needs in a worker with these queues, by NIC: every ring may be full at once, and a batch of
// each port and the spare ones are on top.
func (l layout) frames(queues [][]int, sizes ring.Sizes) []int {
	need := make([]int, len(l))
	for i, g := range l {
		for _, n := range g.nics {
			need[i] += len(queues[n])*sizes.FramesFor() + worker.MaxBatch
		}
		need[i] += spareFrames
		if len(l) > 1 {
			need[i] += ring.Reserve
		}
	}
	return need
}
