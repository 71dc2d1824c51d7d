package api

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
)

// Mask is a persistence granularity as the configuration file has it: a prefix length or, where an IPv4 mask is none,
// the mask in dotted form.
type Mask struct {
	prefix uint32 // bits
	dotted uint32 // IPv4 in host order; 0: see prefix
}

// maskOf makes the Mask of a service.Spec's Netmask.
func maskOf(family uint8, netmask uint32) Mask {
	if family == 6 {
		return Mask{prefix: netmask}
	}
	m := Mask{prefix: uint32(bits.LeadingZeros32(^netmask))}
	if m.netmask(family) != netmask {
		return Mask{dotted: netmask}
	}
	return m
}

// netmask is maskOf's inverse.
func (m Mask) netmask(family uint8) uint32 {
	switch {
	case family == 6:
		return m.prefix
	case m.dotted != 0:
		return m.dotted
	}
	return uint32(uint64(math.MaxUint32) << (32 - min(m.prefix, 32)))
}

// MarshalJSON writes a number, or the dotted mask as a string.
func (m Mask) MarshalJSON() ([]byte, error) {
	if m.dotted == 0 {
		return json.Marshal(m.prefix)
	}
	return json.Marshal(netip.AddrFrom4([4]byte{byte(m.dotted >> 24), byte(m.dotted >> 16), byte(m.dotted >> 8), byte(m.dotted)}))
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Mask) UnmarshalJSON(b []byte) error {
	*m = Mask{}
	if len(b) == 0 || b[0] != '"' {
		return json.Unmarshal(b, &m.prefix)
	}
	var a netip.Addr
	if err := json.Unmarshal(b, &a); err != nil {
		return err
	}
	if !a.Is4() {
		return fmt.Errorf("mask %s is not IPv4's", a)
	}
	v := a.As4()
	m.dotted = uint32(v[0])<<24 | uint32(v[1])<<16 | uint32(v[2])<<8 | uint32(v[3])
	return nil
}
