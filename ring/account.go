package ring

// Account says where the frames are that a socket has: given to the kernel for receiving, or to be sent. Those of Filled,
// InDriver and Received together are what was refilled and not received yet, and belong to nobody else whatever the kernel
// does meanwhile.
type Account struct {
	Filled   int // in the fill ring
	InDriver int // taken out of it: in the NIC's ring, or kept by the kernel for it
	Received int // in the RX ring: packets that wait for the worker
	Sending  int // in the TX ring, in the NIC, or in the completion ring
}

// Add sums up.
func (a *Account) Add(b Account) {
	a.Filled += b.Filled
	a.InDriver += b.InDriver
	a.Received += b.Received
	a.Sending += b.Sending
}

// Frames are all of them.
func (a Account) Frames() int { return a.Filled + a.InDriver + a.Received + a.Sending }

// Account takes stock, from the ring indexes alone: every frame that comes by the RX ring went by the fill ring, and both
// begin at the same index. It belongs to the worker's goroutine.
func (s *Socket) Account() Account {
	posted := s.fill.head - s.rx.tail
	filled := min(s.fill.head-s.fill.peer.Load(), posted)
	received := min(s.rx.peer.Load()-s.rx.tail, posted-filled)
	return Account{Filled: int(filled), InDriver: int(posted - filled - received), Received: int(received), Sending: int(s.outstanding)}
}
