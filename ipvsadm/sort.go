package ipvsadm

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// mergeSort sorts stably as the C library's qsort does. The comparisons below are not transitive for numbers that are
// more than 2³¹ apart, so the result depends on the algorithm, and no other one will do.
func mergeSort[T any](s []T, compare func(a, b *T) int32) {
	if len(s) > 1 {
		mergeSortWith(s, make([]T, len(s)), compare)
	}
}

func mergeSortWith[T any](s, room []T, compare func(a, b *T) int32) {
	if len(s) <= 1 {
		return
	}
	a, b := s[:len(s)/2], s[len(s)/2:]
	mergeSortWith(a, room, compare)
	mergeSortWith(b, room, compare)
	merged := room[:0]
	for len(a) > 0 && len(b) > 0 {
		if compare(&a[0], &b[0]) <= 0 {
			merged, a = append(merged, a[0]), a[1:]
		} else {
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	merged = append(merged, a...)
	copy(s, merged)
}

// compareServices orders services by mark, family, protocol, address and port.
func compareServices(x, y *control.ServiceEntry) int32 {
	a, b := &x.Spec.ID, &y.Spec.ID
	if d := int32(a.Mark - b.Mark); d != 0 {
		return d
	}
	if d := cmp.Compare(a.Family, b.Family); d != 0 {
		return int32(d)
	}
	if d := int32(protocolOf(a)) - int32(protocolOf(b)); d != 0 {
		return d
	}
	if d := compareAddrs(a.Addr, b.Addr); d != 0 {
		return d
	}
	return int32(a.Port) - int32(b.Port)
}

// protocolOf is the protocol that a service is listed under; a mark's counts as TCP.
func protocolOf(id *service.ID) uint8 {
	if id.Mark != 0 {
		return service.TCP
	}
	return id.Protocol
}

// compareServers orders servers by address and port.
func compareServers(x, y *control.ServerEntry) int32 {
	if d := compareAddrs(x.Spec.Addr, y.Spec.Addr); d != 0 {
		return d
	}
	return int32(x.Spec.Port) - int32(y.Spec.Port)
}

// compareAddrs subtracts the addresses word by word, in 32 bits, as many words as the first one has. An IPv4 address
// takes the place of the first word of an IPv6 one.
func compareAddrs(a, b netip.Addr) int32 {
	x, y := words(a), words(b)
	n := 4
	if a.Is4() {
		n = 1
	}
	for i := range n {
		if d := int32(x[i] - y[i]); d != 0 {
			return d
		}
	}
	return 0
}

func words(a netip.Addr) (w [4]uint32) {
	if a.Is6() {
		b := a.As16()
		for i := range w {
			w[i] = binary.BigEndian.Uint32(b[4*i:])
		}
	} else if a.Is4() {
		b := a.As4()
		w[0] = binary.BigEndian.Uint32(b[:])
	}
	return w
}
