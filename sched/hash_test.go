package sched

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

var clients = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "192.0.2.10", "198.51.100.7", "203.0.113.9"}

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func TestHashes(t *testing.T) {
	for v, want := range map[uint32][2]uint32{
		0: {0x1d5a77c2, 0xf882433f}, 1: {0x16ec66b2, 0x8210aad1}, 0x0a000001: {0x03080ce4, 0x48f9d0c1}, 0xc0a80a01: {0xbe1af8d7, 0xb0df7df4},
	} {
		if got := [2]uint32{siphash13(v, mhKey1), siphash13(v, mhKey2)}; got != want {
			t.Errorf("H(%#x) is %#x, want %#x", v, got, want)
		}
	}
	for a, want := range map[string][3]uint32{
		"10.0.0.1": {0x0a000001, 39, 159}, "10.0.0.2": {0x0a000002, 137, 550}, "10.0.0.3": {0x0a000003, 235, 941},
		"192.0.2.10": {0xc000020a, 162, 651}, "198.51.100.7": {0xc6336407, 171, 684}, "203.0.113.9": {0xcb007109, 64, 257},
		"2001:db8::1": {0x20010db9, 63, 252}, "2001:db8::2": {0x20010dba, 160, 643}, "fe80::1": {0xfe800001, 247, 989},
	} {
		f := fold(addr(a), map[bool]uint8{true: 4, false: 6}[addr(a).Is4()])
		if got := [3]uint32{f, hash32(f, 8), hash32(f, 10)}; got != want {
			t.Errorf("%s: %#x, want %#x", a, got, want)
		}
	}
	if f := fold(addr("2001:db8::1"), 4); f != 0x20010db8 {
		t.Errorf("an IPv6 server in an IPv4 service folds to %#x", f)
	}
}

// mapped is the letters chosen for clients, as sources or as destinations, all with one source port.
func mapped(s service.Scheduler, who []string, family uint8, flags service.SchedFlags) string {
	var b strings.Builder
	for _, c := range who {
		b.WriteString(letter(s.Schedule(&service.Request{
			Client: addr(c), Dst: addr(c), ClientPort: 40000, Protocol: service.TCP, Family: family, Flags: flags,
		})))
	}
	return b.String()
}

func TestDH(t *testing.T) {
	list := weights(1, 1, 1)
	s := start(t, "dh", list)
	if got := mapped(s, clients, 4, 0); got != "ACBAAB" {
		t.Errorf("chooses %s", got)
	}
	if got := mapped(s, []string{"2001:db8::1", "2001:db8::2", "fe80::1"}, 6, 0); got != "ABB" {
		t.Errorf("IPv6: %s", got)
	}
	list[1].Weight = 0
	if got := mapped(s, clients, 4, service.SchedFlag1); got != "AC-AA-" {
		t.Errorf("B of weight 0: %s", got)
	}
	compare(t, "dh", func() model {
		return pure(func(list []*service.Server, r *service.Request) *service.Server {
			if len(list) == 0 {
				return nil
			}
			d := list[int(hash32(r.Dst.V4(), 8))%len(list)]
			if d.Weight == 0 || d.Overloaded() {
				return nil
			}
			return d
		})
	})
}

func TestSH(t *testing.T) {
	for _, c := range []struct {
		weights []int32
		first   string
		counts  [3]int
	}{
		{[]int32{1, 1, 1}, "ABCABCABCABC", [3]int{86, 85, 85}}, {[]int32{3, 1, 2}, "AAABCCAAABCC", [3]int{129, 43, 84}},
		{[]int32{3, 0, 2}, "AAABCCAAABCC", [3]int{129, 43, 84}},
	} {
		s := start(t, "sh", weights(c.weights...)).(*sh)
		first, counts := "", [3]int{}
		for i, d := range s.slots {
			if counts[d.Number-1]++; i < 12 {
				first += letter(d)
			}
		}
		if first != c.first || counts != c.counts {
			t.Errorf("weights %v: %s %v", c.weights, first, counts)
		}
	}
	list := weights(3, 1, 2)
	s := start(t, "sh", list)
	if got := mapped(s, clients, 4, 0); got != "BCAABC" {
		t.Errorf("chooses %s", got)
	}
	if got := mapped(s, clients, 4, service.SchedFlag2); got != "CBCCAA" {
		t.Errorf("by port %s", got)
	}
	list[0].Flags |= service.ServerOverload
	if got := mapped(s, clients, 4, service.SchedFlag1); got != "BCCBBC" {
		t.Errorf("A unavailable, fallback: %s", got)
	}
	if got := mapped(s, clients, 4, 0); got != "BC--BC" {
		t.Errorf("A unavailable, no fallback: %s", got)
	}
	compare(t, "sh", func() model { return pure(shTwin) })
}

// shTwin writes the list out, each server as often as its weight, and goes round it.
func shTwin(list []*service.Server, r *service.Request) *service.Server {
	var round []*service.Server
	for _, d := range list {
		for range max(d.Weight, 1) {
			round = append(round, d)
		}
	}
	if len(round) == 0 {
		return nil
	}
	// the 256th slot ends the filling: the next round does not go on from there, but nobody looks beyond it
	at := func(slot int) *service.Server { return round[slot%256%len(round)] }
	ok := func(d *service.Server) bool { return d.Weight > 0 && !d.Overloaded() }
	v := r.Client.V4()
	if r.Flags&service.SchedFlag2 != 0 {
		v += uint32(r.ClientPort)
	}
	slot := int(hash32(v, 8))
	if d := at(slot); ok(d) {
		return d
	}
	for offset := 0; offset < 256 && r.Flags&service.SchedFlag1 != 0; offset++ {
		if d := at((offset+slot)%256 + slot); ok(d) {
			return d
		}
	}
	return nil
}

// maglev makes the servers of the examples: 192.168.10.1, .2 … port 80.
func maglev(w ...int32) []*service.Server {
	list := weights(w...)
	for i, d := range list {
		d.Addr = packet.AddrFrom(netip.AddrFrom4([4]byte{192, 168, 10, byte(i + 1)}))
	}
	return list
}

func TestMH(t *testing.T) {
	six := weights(1, 2)
	six[0].Addr, six[1].Addr = addr("2001:db8:1::1"), addr("2001:db8:1::2")
	six[0].SFamily, six[1].SFamily = 6, 6
	for _, c := range []struct {
		list   []*service.Server
		counts []int
		sum    string
	}{
		{maglev(1, 1, 1), []int{1365, 1364, 1364}, "6a5fd7a78482833959681159f7c55fa7d0357b4983461f1203d9b8c136f858b6"},
		{maglev(10, 20, 30), []int{683, 1364, 2046}, "7fa96389410eb31776b86079fdbbcacba9efb5880b16020b6a801aa31ce4f67a"},
		{maglev(1000, 1), []int{4029, 64}, "819d1863e6d7cf07628652440ae750f96b418f2df28d5afe171bcdb315b9e34c"},
		{six, []int{1365, 2728}, "a2d153e241682d933b393ec8770d09d6dd260cd69a18cb4b20bda4cf60ca1fe6"},
	} {
		s := start(t, "mh", c.list).(*mh)
		counts, bytes := make([]int, len(c.list)), make([]byte, mhSize)
		for i, d := range s.slots {
			counts[d.Number-1]++
			bytes[i] = byte(d.Number - 1)
		}
		for i := range counts {
			if counts[i] != c.counts[i] {
				t.Errorf("slots %v, want %v", counts, c.counts)
				break
			}
		}
		if sum := sha256.Sum256(bytes); hex.EncodeToString(sum[:]) != c.sum {
			t.Errorf("table of %v differs: %x", c.counts, sum)
		}
	}
	if got := mapped(start(t, "mh", six), []string{"2001:db8::1", "2001:db8::2", "fe80::1"}, 6, 0); got != "BBB" {
		t.Errorf("IPv6: %s", got)
	}
	one, two := start(t, "mh", maglev(1, 1, 1)), start(t, "mh", maglev(10, 20, 30))
	for _, c := range []struct {
		s     service.Scheduler
		flags service.SchedFlags
		want  string
	}{{one, 0, "BBCAAC"}, {one, 2, "AAAABC"}, {two, 0, "CCCCAC"}, {two, 2, "CAACBC"}} {
		if got := mapped(c.s, clients, 4, c.flags); got != c.want {
			t.Errorf("flags %d: %s, want %s", c.flags, got, c.want)
		}
	}
	for down, want := range []string{"BBCBBC", "CACAAC", "BBAAAA"} {
		list := maglev(1, 1, 1)
		s := start(t, "mh", list)
		list[down].Weight = 0
		s.Update(list, service.ServerEdited, list[down]) // the last weight counts: nothing moves
		if got := mapped(s, clients, 4, service.SchedFlag1); got != want {
			t.Errorf("%s down: %s, want %s", letter(list[down]), got, want)
		}
	}
	compare(t, "mh", func() model { return &mhTwin{} })
}

// mhTwin writes each server's order of slots out in full and lets them take turns.
type mhTwin struct{ slots []*service.Server }

func (m *mhTwin) changed(list []*service.Server, _ service.Event, _ *service.Server) {
	m.slots = nil
	div, high := 0, 0
	for _, d := range list {
		high = max(high, int(d.LastWeight))
	}
	for n := high; n > 0 && div == 0; n-- {
		div = n
		for _, d := range list {
			if int(d.LastWeight)%n != 0 {
				div = 0
			}
		}
	}
	if div == 0 {
		return
	}
	shift := 0
	for high/div>>shift >= 1<<mhBits {
		shift++
	}
	m.slots = make([]*service.Server, mhSize)
	order := make([][]int, len(list))
	for i, d := range list {
		v := d.Addr.V4() + uint32(d.Port)
		at, skip := int(siphash13(v, mhKey1)%mhSize), int(siphash13(v, mhKey2)%(mhSize-1)+1)
		for range mhSize {
			order[i] = append(order[i], at)
			at = (at + skip) % mhSize
		}
	}
	for taken := 0; taken < mhSize; {
		for i, d := range list {
			turns := int(d.LastWeight) / div >> shift
			if d.LastWeight > 0 {
				turns = max(turns, 1)
			}
			for ; turns > 0 && taken < mhSize; turns-- {
				for m.slots[order[i][0]] != nil {
					order[i] = order[i][1:]
				}
				m.slots[order[i][0]] = d
				taken++
			}
		}
	}
}

func (m *mhTwin) pick(_ []*service.Server, r *service.Request) *service.Server {
	if m.slots == nil {
		return nil
	}
	v := r.Client.V4()
	if r.Flags&service.SchedFlag2 != 0 {
		v += uint32(r.ClientPort)
	}
	ok := func(d *service.Server) bool { return d.Weight > 0 && !d.Overloaded() }
	slot := siphash13(v, mhKey1) % mhSize
	if d := m.slots[slot]; ok(d) {
		return d
	}
	for offset := uint32(0); offset < mhSize && r.Flags&service.SchedFlag1 != 0; offset++ {
		if d := m.slots[siphash13(v+(offset+slot)%mhSize, mhKey1)%mhSize]; ok(d) {
			return d
		}
	}
	return nil
}
