// Package frame turns a line such as
//
//	tcp 198.51.100.7:1025 > 192.0.2.10:80 SA seq=5000 len=10 df
//
// into Ethernet frames, and frames into such lines, for tests. It builds packets with whole checksums and its own code,
// so that it shares no error with the dataplane; and as the recorder of the kernel's behaviour builds them (defaults
// included), so that recordings can be continued.
//
//	PROTO SRC > DST [FLAGS] [KEY=VALUE | KEY]...
//
// PROTO is tcp, udp, sctp, icmp, icmp6, esp, ah, gre or a number; SRC and DST are addresses, with a port where there are
// ports. FLAGS are TCP's, of SAFRPUEC. Keys (numbers as Go writes them, 0x… too):
//
//	len=N        N bytes of payload (abc…); pay=TEXT gives it, ~ stands for CR LF
//	ttl= tos= id= df mf     of the IP header (64, 0, 0x1234)
//	ipopts=HEX   IPv4 options; exthdr=N an IPv6 destination options header of 8·N bytes
//	seq= ack= win= opts=HEX of TCP (1000, 0, 64240)
//	type= code= rest= mtu= icmpid= icmpseq=  of ICMP
//	inner=NAME   the ICMP message quotes the packet that the caller knows as NAME; q=N so many bytes of it (28, IPv6 88)
//	chunk= vtag= of SCTP (1, INIT)
//	body=HEX     what follows the IP header of another protocol
//	csum=bad|zero           the transport checksum; ipcsum=bad the IPv4 header's
//	frag=N       in fragments of N bytes; off=N mf a fragment by itself; reverse: last one first
//	cut=N        the frame loses N bytes at its end; iplen=N what the IP header says
//	vlan=N       802.1Q tag
//
// Called by internal/scenario and by the tests that replay recordings.
package frame
