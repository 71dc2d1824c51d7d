package xdp

// Features are what an interface's driver says of its XDP.
type Features struct {
	ReceiveSegments  bool // its programs may see packets of several buffers (rx-sg)
	TransmitSegments bool // it sends redirected ones (ndo-xmit-sg)
	ZeroCopySegments int  // frames of the longest packet that it sends from a socket bound zero-copy; 0: not known, 1: one
}
