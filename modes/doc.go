// Package modes rewrites packets for the forwarding methods: NAT (both halves), DR, and the tunnels (ipip, GUE, GRE), and
// ICMP errors about them. It works on IP packets in place (encapsulation grows into the headroom in front) and keeps
// checksums right incrementally (RFC 1624). What goes where is not its business.
//
// Called by worker.
package modes
