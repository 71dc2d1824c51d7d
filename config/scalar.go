package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/fastlb/fastlb/service"
)

// scalar is a node's text where it is one value; else it is a fault, with what belongs there.
func (d *decoder) scalar(n node, want string) (string, bool) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		return n.Value, true
	}
	d.fault(n, "%s where %s belongs", kindOf(n.Node), want)
	return "", false
}

// text takes a string.
func (d *decoder) text(to *string) func(node) {
	return func(n node) {
		if s, ok := d.scalar(n, "text"); ok {
			*to = s
		}
	}
}

// word takes one of some words.
func (d *decoder) word(to *string, words ...string) func(node) {
	return func(n node) {
		if n.Kind == yaml.ScalarNode && slices.Contains(words, n.Value) {
			*to = n.Value
			return
		}
		d.fault(n, "%s is not one of %s", kindOf(n.Node), strings.Join(words, ", "))
	}
}

// isNUMA tells whether a word says which NUMA node workers belong on; the kernel knows 1024 at most.
func isNUMA(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "auto" || s == "off" || err == nil && n < 1024
}

// boolean takes true or false.
func (d *decoder) boolean(to *bool) func(node) {
	return func(n node) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			d.fault(n, "%s where true or false belongs", kindOf(n.Node))
			return
		}
		*to = strings.EqualFold(n.Value, "true")
	}
}

// storeWide takes a whole number within bounds; false: it is a fault.
func storeWide(d *decoder, n node, to *int64, low, high int64) bool {
	v, err := int64(0), error(nil)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" {
		d.fault(n, "%s where a whole number belongs", kindOf(n.Node))
		return false
	}
	if v, err = strconv.ParseInt(n.Value, 0, 64); err != nil || v < low || v > high {
		d.fault(n, "%s is not within %d and %d", n.Value, low, high)
		return false
	}
	*to = v
	return true
}

func store[T int32 | uint32 | uint16](d *decoder, n node, to *T, low, high int64) bool {
	v := int64(0)
	ok := storeWide(d, n, &v, low, high)
	if ok {
		*to = T(v)
	}
	return ok
}

// seconds takes a Go duration of whole seconds.
func (d *decoder) seconds(to *uint32) func(node) {
	return func(n node) {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!int" && n.Value != "0" {
			d.fault(n, "%s has no unit: write %ss", n.Value, n.Value)
			return
		}
		if n.Kind != yaml.ScalarNode {
			d.fault(n, "%s where a duration such as 300s belongs", kindOf(n.Node))
			return
		}
		t, err := time.ParseDuration(n.Value)
		switch {
		case err != nil:
			d.fault(n, "%q is no duration: write 300s, 5m or 1h30m", n.Value)
		case t < 0 || t%time.Second != 0 || t/time.Second > maxSeconds:
			d.fault(n, "%s is not in whole seconds within 0s and %s", n.Value, maxSeconds*time.Second)
		default:
			*to = uint32(t / time.Second)
		}
	}
}

// maxSeconds is ipvsadm's longest timeout: 31 days.
const maxSeconds = 2678400

// addr takes an IP address.
func (d *decoder) addr(to *netip.Addr) func(node) {
	return func(n node) {
		a, err := netip.ParseAddr(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || a.Zone() != "" {
			d.fault(n, "%s where an IP address belongs", kindOf(n.Node))
			return
		}
		*to = a.Unmap()
	}
}

// prefix takes an address or a prefix, whose host bits are cut off.
func (d *decoder) prefix(to *netip.Prefix) func(node) {
	return func(n node) {
		if n.Kind == yaml.ScalarNode {
			if a, err := netip.ParseAddr(n.Value); err == nil && a.Zone() == "" {
				*to = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
				return
			}
			if p, err := netip.ParsePrefix(n.Value); err == nil {
				*to = p.Masked()
				return
			}
		}
		d.fault(n, "%s where an address or a prefix such as 192.0.2.0/24 belongs", kindOf(n.Node))
	}
}

// network takes an interface's address with the length of its network.
func (d *decoder) network(n node) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.fault(n, "%s where an address with its prefix length, such as 192.0.2.1/24, belongs", kindOf(n.Node))
		return p, false
	}
	return p, true
}

// mac takes an Ethernet address.
func (d *decoder) mac(to *[6]byte) func(node) {
	return func(n node) {
		m, err := net.ParseMAC(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || len(m) != 6 {
			d.fault(n, `%s where an Ethernet address such as "02:00:00:00:00:01" belongs`, kindOf(n.Node))
			return
		}
		*to = [6]byte(m)
	}
}

// protocol takes tcp, udp or sctp.
func (d *decoder) protocol(to *uint8) func(node) {
	return func(n node) {
		var w string
		d.word(&w, "tcp", "udp", "sctp")(n)
		if w != "" {
			*to = map[string]uint8{"tcp": service.TCP, "udp": service.UDP, "sctp": service.SCTP}[w]
		}
	}
}

// ParseCPUs understands a list of CPUs such as "2-5,8"; "auto" is none.
func ParseCPUs(s string) (cpus []int, err error) {
	if s == "auto" {
		return nil, nil
	}
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		low, err := strconv.ParseUint(first, 10, 12)
		high, err2 := strconv.ParseUint(last, 10, 12)
		if err != nil || err2 != nil || low > high {
			return nil, fmt.Errorf(`%q is not auto or a list of CPUs such as "2-5,8"`, s)
		}
		for c := low; c <= high; c++ {
			if slices.Contains(cpus, int(c)) {
				return nil, fmt.Errorf("%q names CPU %d twice", s, c)
			}
			cpus = append(cpus, int(c))
		}
	}
	return cpus, nil
}
