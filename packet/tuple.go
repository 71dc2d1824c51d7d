package packet

// Tuple is a packet's own source and destination: what a connection is looked up by. Ports are in host order and 0 where
// the packet has none. It is 40 bytes without a gap that matters: every byte of it is hashed.
type Tuple struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
	Proto            uint8 // IP protocol number
	Family           uint8 // 4 or 6
	_                uint16
}
