// Package twin is a second dataplane: slow, plain and written from the behaviour specification alone, so that a mistake in
// the fast one and a mistake here are unlikely to be the same. Tests give both the same configuration, frames and
// commands, and demand the same frames, verdicts, connections and counters.
//
// It is not a dataplane for use: look-ups walk slices, every packet is copied several times, headers are checksummed
// whole wherever a whole sum gives the same bytes (only TCP and UDP sums, which must stay wrong if they came wrong, are
// changed by RFC 1624's formula). It shares no code with packet, flow, sched, modes, worker or replay; service and neigh
// lend their configuration types, perf its reasons.
//
// In scope: NAT, DR and tunnels (IPIP, GRE, GUE, with checksums and without) in all family combinations; rr, wrr, lc, wlc,
// sh; TCP and UDP; TTL, DF, MTUs of up to 65535 bytes and packets to match; generated ICMP errors; ICMP errors about
// connections in both directions; fragments; VLAN tags; quiesced and removed servers; persistence of services with a port of
// their own. Out of scope: other persistence, marks, SCTP, FTP, the defences, errors from a tunnel's path.
//
// A packet's way, in the order of the functions: Receive (Ethernet), decode (IP), hold (fragments), handle (which step),
// reply (OUT), related (ICMP), arrive (IN), schedule, transmit, send.
package twin
