package modes

import (
	"encoding/binary"

	"github.com/fastlb/fastlb/packet"
)

// NATIn rewrites a whole client packet for its real server: destination old:oldPort becomes addr:port, the TTL goes down by
// one. ip is the IP packet, exactly its total length; l4 the offset of the transport header; proto TCP, UDP or SCTP.
// spec/forwarding.md 2, 3.1.
//
//fastlb:hot
func NATIn(ip []byte, l4 int, proto uint8, old, addr packet.Addr, oldPort, port uint16) {
	var d packet.Delta
	if ip[0]>>4 == 4 {
		d = d.ReplaceV4(old.Wire4(), addr.Wire4())
		_ = ip[19]
		packet.DecrementTTLBy(ip, d)
		addr.Put4(ip[16:20])
	} else {
		d = d.ReplaceAddr(old, addr)
		ip[7]--
		addr.Put16(ip[24:40])
	}
	binary.BigEndian.PutUint16(ip[l4+2:], port)
	fixTransport(ip, l4, proto, d.Replace(oldPort, port), port != oldPort)
}

// NATOut rewrites a whole packet of a real server for its client: source old:oldPort becomes addr:port (the virtual
// service's), the TTL goes down by one. spec/forwarding.md 3.2.
//
//fastlb:hot
func NATOut(ip []byte, l4 int, proto uint8, old, addr packet.Addr, oldPort, port uint16) {
	var d packet.Delta
	if ip[0]>>4 == 4 {
		d = d.ReplaceV4(old.Wire4(), addr.Wire4())
		_ = ip[19]
		packet.DecrementTTLBy(ip, d)
		addr.Put4(ip[12:16])
	} else {
		d = d.ReplaceAddr(old, addr)
		ip[7]--
		addr.Put16(ip[8:24])
	}
	binary.BigEndian.PutUint16(ip[l4:], port)
	fixTransport(ip, l4, proto, d.Replace(oldPort, port), port != oldPort)
}

// NATIn4 is NATIn for what nearly every packet is: TCP in IPv4 without options, ip its two headers.
//
//fastlb:hot
func NATIn4(ip *[40]byte, old, addr packet.Addr, oldPort, port uint16) {
	d := packet.Delta(0).ReplaceV4(old.Wire4(), addr.Wire4())
	packet.DecrementTTLBy(ip[:], d)
	addr.Put4(ip[16:])
	binary.BigEndian.PutUint16(ip[22:], port)
	d.Replace(oldPort, port).Apply(ip[36:])
}

// NATOut4 is NATOut for what NATIn4 is for.
//
//fastlb:hot
func NATOut4(ip *[40]byte, old, addr packet.Addr, oldPort, port uint16) {
	d := packet.Delta(0).ReplaceV4(old.Wire4(), addr.Wire4())
	packet.DecrementTTLBy(ip[:], d)
	addr.Put4(ip[12:])
	binary.BigEndian.PutUint16(ip[20:], port)
	d.Replace(oldPort, port).Apply(ip[36:])
}

// fixTransport brings the transport checksum in line with a change of addresses and one port.
//
//fastlb:hot
func fixTransport(ip []byte, l4 int, proto uint8, d packet.Delta, portChanged bool) {
	switch proto {
	case packet.ProtoTCP:
		d.Apply(ip[l4+16 : l4+18])
	case packet.ProtoUDP:
		f := ip[l4+6 : l4+8]
		if f[0]|f[1] == 0 {
			fillUDP(ip, l4)
			return
		}
		d.ApplyUDP(f)
	case packet.ProtoSCTP:
		if portChanged {
			packet.SetSCTPChecksum(ip[l4:])
		}
	}
}

// fillUDP computes the checksum of a datagram that came without one: a NATed datagram always leaves with a checksum
// (spec/forwarding.md 2, recorded in udp/zero-checksum). The length summed is the IP payload's, as the kernel has it.
func fillUDP(ip []byte, l4 int) {
	var src, dst packet.Addr
	if ip[0]>>4 == 4 {
		src, dst = packet.AddrFrom4(ip[12:16]), packet.AddrFrom4(ip[16:20])
	} else {
		src, dst = packet.AddrFrom16(ip[8:24]), packet.AddrFrom16(ip[24:40])
	}
	n := len(ip) - l4
	c := packet.PseudoHeader(src, dst, packet.ProtoUDP, n).AddBytes(ip[l4:]).Checksum()
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(ip[l4+6:], c)
}

// ReplaceDst undoes or redoes the destination of a NAT packet without touching the TTL: for quoting a packet as its
// sender knows it.
func ReplaceDst(ip []byte, l4 int, proto uint8, old, addr packet.Addr, oldPort, port uint16) {
	restoreTTL(ip)
	NATIn(ip, l4, proto, old, addr, oldPort, port)
}

// ReplaceSrc is ReplaceDst for the source.
func ReplaceSrc(ip []byte, l4 int, proto uint8, old, addr packet.Addr, oldPort, port uint16) {
	restoreTTL(ip)
	NATOut(ip, l4, proto, old, addr, oldPort, port)
}

func restoreTTL(ip []byte) {
	if ip[0]>>4 == 4 {
		ip[8]++
		packet.Delta(0).Replace(0, 0x0100).Apply(ip[10:12])
	} else {
		ip[7]++
	}
}

// AddressIn rewrites only the destination address of a packet whose protocol has no ports to translate (AH, ESP;
// spec/forwarding.md 3.1); the TTL goes down by one.
func AddressIn(ip []byte, addr packet.Addr) {
	setAddr(ip, false, addr)
	if ip[0]>>4 == 4 {
		ip[8]--
		packet.SetHeaderChecksum(ip)
	} else {
		ip[7]--
	}
}

// AddressOut is AddressIn for the source of a server's packet.
func AddressOut(ip []byte, addr packet.Addr) {
	setAddr(ip, true, addr)
	if ip[0]>>4 == 4 {
		ip[8]--
		packet.SetHeaderChecksum(ip)
	} else {
		ip[7]--
	}
}

// ReplaceAddress undoes or redoes what AddressIn, or with src AddressOut, did to the address, and leaves the TTL alone.
func ReplaceAddress(ip []byte, src bool, addr packet.Addr) {
	setAddr(ip, src, addr)
	if ip[0]>>4 == 4 {
		packet.SetHeaderChecksum(ip)
	}
}
