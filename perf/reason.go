package perf

// Reason says why a packet was not forwarded. Its text is the metric label, the key in replay's summary, the word in a
// trace and the row in docs/reference/reasons.md.
type Reason uint8

//go:generate go run ./genreason

// The reasons, in the order in which a packet meets them. The comment is the explanation in the docs.
const (
	ReasonNone Reason = iota

	// Drops.
	Runt                 // frame shorter than the headers it announces
	BadIPHeader          // IPv4 or IPv6 header: wrong version, length or checksum
	BadTransportHeader   // too short to hold the ports
	BadTransportChecksum // a packet that the FTP helper reads, with a wrong TCP checksum
	BadICMPChecksum      // ICMP error about a NAT connection with a wrong checksum
	FragmentTimeout      // a datagram's fragments did not all arrive within 30 s (60 s for IPv6)
	FragmentOverlap      // fragments that overlap or contradict each other
	FragmentLimit        // no room to hold more fragments
	NoServer             // the service has no usable server; the client was sent port unreachable
	ServerRemoved        // the connection's server was removed
	TableFull            // the connection table is full: a new connection was refused
	SlotsFull            // no memory for a connection's side record
	TTLExceeded          // TTL or hop limit used up; the sender was sent time exceeded
	TooBig               // larger than the MTU and not to be fragmented; the sender was told
	TunnelMTU            // the path to a tunnel's end is too small for any packet
	NoRoute              // no route to the next hop; the sender was sent host unreachable
	NoNeighbor           // the next hop's MAC did not resolve; the sender was sent host unreachable
	NeighborQueueFull    // too many packets wait for this next hop's MAC
	LoopbackSource       // a loopback address as source must not leave the host
	NoFrame              // no free frame to build a packet in
	TXFull               // the TX ring of the egress interface is full
	NoPort               // the egress interface has no socket of this worker
	Oversize             // longer than the interface can carry, or in its tunnel than IP can
	PassQueueFull        // the queue to the kernel's stack is full
	HandoverFull         // the queue to the worker that reassembles this datagram is full
	DefenceDropPacket    // drop_packet defence
	FatalSchedule        // the service's persistence engine found nothing to go by
	StrayReply           // a NAT server's packet of no connection; the server was sent port unreachable (nat_icmp_send)

	// Passes: the packet is the kernel's.
	PassNotIP        // not IPv4 or IPv6
	PassNotHost      // not addressed to this interface's MAC
	PassProtocol     // a protocol that is not balanced
	PassNoService    // no connection and no service
	PassNotNew       // no connection, and the packet may not open one
	PassICMP         // an ICMP message about nothing of ours, or no error
	PassLocal        // the real server is the director itself
	PassNoServerFTP  // FTP data without a server
	PassNothingSetUp // there is no service at all
	PassBackup       // this director is the backup, and backup_only says so

	reasonCount
)

// Reasons is the number of reasons.
const Reasons = int(reasonCount)
