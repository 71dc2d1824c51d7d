package modes

import (
	"encoding/binary"

	"github.com/fastlb/fastlb/packet"
)

// ICMPIn rewrites an ICMP error from the client's side about a packet server to client, for the real server: outer
// destination and embedded source become addr, the embedded source port becomes port; all checksums but the embedded
// transport's are made right; the TTL goes down by one. ip is the whole ICMP packet, l4 the offset of the ICMP header,
// emb and embL4 the offsets of the embedded IP and transport headers. spec/connections.md 9.2.
func ICMPIn(ip []byte, l4, emb, embL4 int, addr packet.Addr, port uint16) {
	setAddr(ip, false, addr)
	setAddr(ip[emb:], true, addr)
	if embL4+2 <= len(ip) {
		binary.BigEndian.PutUint16(ip[embL4:], port)
	}
	finishICMP(ip, l4, emb)
}

// ICMPOut rewrites an ICMP error from the server's side about a packet client to server, for the client: outer source and
// embedded destination become the virtual service's addr, the embedded destination port its port. spec/connections.md 9.3.
func ICMPOut(ip []byte, l4, emb, embL4 int, addr packet.Addr, port uint16) {
	setAddr(ip, true, addr)
	setAddr(ip[emb:], false, addr)
	if embL4+4 <= len(ip) {
		binary.BigEndian.PutUint16(ip[embL4+2:], port)
	}
	finishICMP(ip, l4, emb)
}

func setAddr(ip []byte, src bool, a packet.Addr) {
	if ip[0]>>4 == 4 {
		if src {
			a.Put4(ip[12:])
		} else {
			a.Put4(ip[16:])
		}
		return
	}
	if src {
		a.Put16(ip[8:])
	} else {
		a.Put16(ip[24:])
	}
}

func finishICMP(ip []byte, l4, emb int) {
	if ip[0]>>4 == 4 {
		ip[8]--
		packet.SetHeaderChecksum(ip)
		packet.SetHeaderChecksum(ip[emb:])
	} else {
		ip[7]--
	}
	SetICMPChecksum(ip, l4)
}

// SetICMPChecksum computes the checksum of the ICMP or ICMPv6 packet ip afresh.
func SetICMPChecksum(ip []byte, l4 int) {
	ip[l4+2], ip[l4+3] = 0, 0
	binary.BigEndian.PutUint16(ip[l4+2:], icmpSum(ip, l4).Checksum())
}

// ICMPChecksumOK verifies it.
func ICMPChecksumOK(ip []byte, l4 int) bool { return icmpSum(ip, l4).Fold() == 0xffff }

func icmpSum(ip []byte, l4 int) packet.Sum {
	var s packet.Sum
	if ip[0]>>4 == 6 {
		s = packet.PseudoHeader(packet.AddrFrom16(ip[8:24]), packet.AddrFrom16(ip[24:40]), packet.ProtoICMPv6, len(ip)-l4)
	}
	return s.AddBytes(ip[l4:])
}
