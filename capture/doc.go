// Package capture reads packet captures (pcap and pcapng, Ethernet) and writes pcapng.
//
// It is not a dissector: a frame is bytes with a time and the interface it was seen on. A Reader streams: it holds one
// packet at a time, so a capture's size does not matter. A Writer's bytes depend on nothing but what it is given: no
// host, system or program name is written.
//
//	pcap    [file header 24][record header 16 | frame] [record header 16 | frame] …
//	pcapng  [section header [interface]… [packet]… [interface]… [packet]…] [section header …] …
//
// Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
//
// Called by replay, internal/scenario and fastlb's capture command.
package capture
