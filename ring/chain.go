package ring

// A packet that is longer than a frame lies in several: a chain of descriptors that stand side by side on a ring, all but
// the last with Continued (XDP_USE_SG, Linux 6.6). Its first frame holds the headers.

// Continued is the option of a descriptor whose packet goes on in the next one: XDP_PKT_CONTD of linux/if_xdp.h.
const Continued = 1

const (
	// MaxChain is the most frames of a received packet: a kernel's packet has at most 45 pieces besides its head
	// (CONFIG_MAX_SKB_FRAGS), and 64 KiB in frames of ours are 18.
	MaxChain = 48
	// MaxSegments is the most frames of a packet to be sent in copy mode: as many as an skb takes (MAX_SKB_FRAGS). They
	// hold more than 64 KiB.
	MaxSegments = 17
)

// Chained tells whether one of the packets lies in several frames.
//
//fastlb:hot
func Chained(d []Desc) bool {
	var all uint32
	for i := range d {
		all |= d[i].Options
	}
	return all&Continued != 0
}

// Whole is how many of the descriptors, from the front, belong to packets that are there to their end.
func Whole(d []Desc) int {
	n := len(d)
	for n > 0 && d[n-1].Options&Continued != 0 {
		n--
	}
	return n
}

// SegmentsFor is the number of frames that n bytes from the Ethernet header on take, the first with its headroom.
func SegmentsFor(n int) int {
	if n <= MaxPacket {
		return 1
	}
	return 1 + (n-MaxPacket+FrameSize-1)/FrameSize
}

// LongestIn is the length, from the Ethernet header on, of the longest packet that fits so many frames.
func LongestIn(segments int) int { return MaxPacket + (max(segments, 1)-1)*FrameSize }

// KeepChains makes the socket give and take packets of several frames whole. Open does it where Config.Segments was heeded.
func (s *Socket) KeepChains() { s.chains = true }

// receiveWhole is the end of Receive, which has read n descriptors into d: a packet whose end is not there yet stays on the
// ring. One that is longer than MaxChain, which no sane kernel gives, is freed, and so is its rest when it comes.
func (s *Socket) receiveWhole(d []Desc, n uint32) int {
	skipped := 0
	for s.skip && skipped < int(n) {
		s.skip = d[skipped].Options&Continued != 0
		s.discard(d[skipped])
		skipped++
	}
	d = d[:copy(d, d[skipped:n])]
	whole := Whole(d)
	s.rx.release(uint32(skipped + whole))
	if whole == 0 && len(d) >= MaxChain {
		for i := range d {
			s.discard(d[i])
		}
		s.rx.release(uint32(len(d)))
		s.skip = true
		s.count(&s.counters.LongChains, 1)
	}
	s.frames.audit.moveDescs(d[:whole], ownerKernelRX, ownerWorker)
	return whole
}

// wholeOf is Whole of the first n.
func wholeOf(d []Desc, n uint32) uint32 { return uint32(Whole(d[:n])) }

func (s *Socket) discard(d Desc) {
	s.frames.audit.move(d.Addr, ownerKernelRX, ownerWorker)
	s.frames.Put(d.Addr)
}

// Segments tells whether packets may lie in several frames.
func (s *Socket) Segments() bool { return s.chains }
