package lab

// Inner returns the IP packet inside a tunnel packet: the bytes behind the outer IPv4 header where there is one, all of
// them otherwise. It returns nil for what is no IP packet.
func Inner(packet []byte, outer bool) []byte {
	if outer {
		if len(packet) < 20 || packet[0]>>4 != 4 {
			return nil
		}
		length := int(packet[0]&0x0f) * 4
		if length < 20 || length > len(packet) {
			return nil
		}
		packet = packet[length:]
	}
	if len(packet) == 0 {
		return nil
	}
	switch v := packet[0] >> 4; {
	case v == 4 && len(packet) >= 20, v == 6 && len(packet) >= 40:
		return packet
	}
	return nil
}
