package ring

// owner is the party a frame belongs to; doc.go draws how it moves.
type owner uint8

const (
	ownerFree     owner = iota // on the worker's stack
	ownerWorker                // in the worker's hands: a packet of the present round
	ownerKernelRX              // in a fill ring, the NIC or an RX ring
	ownerKernelTX              // in a TX ring, the NIC or a completion ring
)

func (o owner) String() string {
	return [...]string{"free", "worker", "kernel-RX", "kernel-TX"}[o]
}
