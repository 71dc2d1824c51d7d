package ring

// Prefetch asks for the headers of received packets: they come from the NIC's DMA or another core's cache, and a batch of
// them is fetched at the price of one. It is one call a batch, because a call a packet would eat the gain.
//
//fastlb:hot
func Prefetch(mem []byte, d []Desc) {
	if len(d) > 0 && len(mem) > 0 {
		prefetchPackets(&mem[0], &d[0], len(d))
	}
}
