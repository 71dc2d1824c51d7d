package ipvsadm

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/fastlb/fastlb/control"
)

func inet(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestCompareAddrs checks that addresses further apart than 2³¹ compare the wrong way, as in ipvsadm.
func TestCompareAddrs(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int // sign
	}{
		{"10.0.0.1", "10.0.0.2", -1},
		{"10.0.0.1", "192.168.0.1", 1},
		{"8.8.8.8", "130.0.0.1", -1},
		{"fd00::1", "fd00::2", -1},
		{"1::", "fe80::", 1},
		{"10.0.0.1", "10.0.0.1", 0},
		{"2001:db8::5", "32.1.13.184", 5}, // the IPv4 address is the first word
	} {
		got := compareAddrs(inet(c.a), inet(c.b))
		if (got > 0) != (c.want > 0) || (got < 0) != (c.want < 0) {
			t.Errorf("%s, %s: %d, want the sign of %d", c.a, c.b, got, c.want)
		}
	}
}

// TestMergeSort compares with the library's stable sort where the order is a true one.
func TestMergeSort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 40 {
		list := make([]control.ServerEntry, n)
		for i := range list {
			list[i].Spec.Addr = netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(8))})
			list[i].Spec.Port = uint16(r.IntN(3))
			list[i].Active = uint32(i)
		}
		want := slices.Clone(list)
		slices.SortStableFunc(want, func(a, b control.ServerEntry) int { return int(compareServers(&a, &b)) })
		mergeSort(list, compareServers)
		if !slices.Equal(list, want) {
			t.Fatalf("%d entries: %v, want %v", n, list, want)
		}
	}
}
