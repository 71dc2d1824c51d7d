// Package scenario runs readable scripts of a director's life over the replay engine, as tests: each line does one thing
// and says after => what came of it. A file is a transcript: run with -update it is written anew, and the diff is the
// review.
//
//	# rr keeps a client's connection on its server when another server joins.
//	service tcp 192.0.2.10:80 rr dr
//	server  10.0.0.11:80
//	packet  198.51.100.7:1025 > 192.0.2.10:80 S      => eth0 to 10.0.0.11 new
//	server  10.0.0.12:80
//	packet  198.51.100.7:1025 > 192.0.2.10:80 A      => eth0 to 10.0.0.11
//	advance 900s                                     => expired 1 tcp ESTABLISHED
//
// Further results stand on lines of their own that begin with =>, output of ipvsadm on lines that begin with |, both
// indented. # begins a comment, at the beginning of a line.
//
// # The site
//
// These lines, before any other, replace the site that a script has otherwise (site.go): one interface, eth0, with
// 192.0.2.1/24 and 10.0.0.1/24, a gateway 192.0.2.254, servers 10.0.0.11 to .14, and the same in IPv6: 2001:db8::/64
// with the gateway ::fe, servers fd00::11 to ::14.
//
//	interface NAME MAC [ADDRESS/LEN]... [mtu N] [limit N] [parent NAME vlan N]
//	                    limit: the driver has no multi-buffer, the longest packet is N bytes whatever the MTU
//	neighbor ADDRESS MAC
//	route PREFIX [via ADDRESS] [dev NAME] [mtu N] [local]
//	capacity N          of the connection table
//	workers N
//
// # What happens
//
//	service PROTO ADDR:PORT SCHEDULER [METHOD] [persistent=SECONDS] [mask=N] [ops] [flags=…]
//	service mark=N [family=6] SCHEDULER [METHOD] …
//	                    adds a service; METHOD (nat, dr, tunnel) is its servers' unless they say otherwise
//	server ADDR[:PORT] [METHOD] [weight=N] [upper=N] [lower=N] [gue=PORT | gre] [csum]
//	                    adds a server to the service named last
//	edit ADDR[:PORT] …  changes it; remove ADDR[:PORT] takes it away
//	remove service      takes the service named last away, with its servers
//	mark N [PREFIX] [PROTO] [PORT,PORT…]   marks packets, after the marks before it
//	tunable NAME VALUE
//	interface NAME mtu N
//	neighbor ADDRESS MAC
//	ipvsadm ARGS        as the command; prints
//	packet [on NAME] [to MAC] [times N] [PROTO] SRC > DST …   one packet, or its fragments: see internal/scenario/frame;
//	                    tcp if there is no PROTO. N of them come from as many ports, with as
//	                    many ids. It comes from the neighbour that SRC is behind, to the interface towards it.
//	                    inner=out quotes the packet sent last, inner=in the one received last.
//	frame [on NAME] HEX a frame as it is; to and from stand for the MACs of eth0 and its gateway
//	advance DURATION    time passes
//
// # What comes of it
//
//	IF to NEIGHBOR [new [N]]   a frame was sent there, and the line made N entries (1) in the connection table
//	… : PACKET          … which is not the one received with its TTL less one (that goes without saying); of a TCP
//	                    packet whose payload is lines of text, that too, with ~ for CR LF
//	at +1.5s …          … by a timer, so long after the line before
//	dropped REASON, passed REASON [N]     as perf.Reason calls it
//	expired N PROTO STATE                 connections that were gone afterwards, with the state they had
//	… ×N                                  so many times the same, ports and ids apart
//	nothing
//	error TEXT, status N                  the command failed
package scenario
