package replay

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/neigh"
)

var (
	macA = [6]byte{2, 0, 0, 0, 0, 0xa}
	macB = [6]byte{2, 0, 0, 0, 0, 0xb}
)

func site(t *testing.T, ifs ...neigh.StaticInterface) *network {
	t.Helper()
	n, err := newNetwork(neigh.StaticConfig{Interfaces: ifs})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func frameTo(mac [6]byte, ids ...uint16) []byte {
	f := append(append(mac[:], 2, 9, 9, 9, 9, 9), 0x08, 0x00, 0x45)
	b := make([]byte, 64)
	t := tags{}
	for _, id := range ids {
		t.id[t.n] = id
		t.n++
	}
	return b[:putFrame(b, f, t)]
}

func TestArrival(t *testing.T) {
	nic := neigh.StaticInterface{Name: "eth0", MAC: macA}
	vlan := neigh.StaticInterface{Name: "eth0.100", Parent: "eth0", VLAN: 100}
	inner := neigh.StaticInterface{Name: "eth0.100.7", Parent: "eth0.100", VLAN: 7}
	other := neigh.StaticInterface{Name: "eth1", MAC: macB}
	lone := neigh.StaticInterface{Name: "up.5", Parent: "up", VLAN: 5, MAC: macB}
	lone2 := neigh.StaticInterface{Name: "up.6", Parent: "up", VLAN: 6, MAC: macB}
	for _, c := range []struct {
		what  string
		ifs   []neigh.StaticInterface
		name  string
		frame []byte
		ok    bool // something is configured there
		port  int
		tags  int  // put in front
		host  bool // addressed to the director
		block int  // of this frame if it were sent there
	}{
		{"plain", []neigh.StaticInterface{nic, other}, "eth0", frameTo(macA), true, 0, 0, true, 0},
		{"second", []neigh.StaticInterface{nic, other}, "eth1", frameTo(macB), true, 1, 0, true, 1},
		{"unnamed is the first", []neigh.StaticInterface{other, nic}, "", frameTo(macB), true, 0, 0, true, 0},
		{"unknown", []neigh.StaticInterface{nic}, "eth7", frameTo(macA), false, 0, 0, false, 0},
		{"another's MAC", []neigh.StaticInterface{nic, other}, "eth0", frameTo(macB), true, 0, 0, false, 0},
		{"broadcast", []neigh.StaticInterface{nic}, "eth0", frameTo([6]byte{255, 255, 255, 255, 255, 255}), true, 0, 0, false, 0},
		{"tagged on the parent", []neigh.StaticInterface{nic, vlan}, "eth0", frameTo(macA, 100), true, 0, 0, true, 0},
		{"priority tag", []neigh.StaticInterface{nic, vlan}, "eth0", frameTo(macA, 0), true, 0, 0, true, 0},
		{"another tag", []neigh.StaticInterface{nic, vlan}, "eth0", frameTo(macA, 200), true, 0, 0, false, 0},
		{"untagged on the VLAN", []neigh.StaticInterface{nic, vlan}, "eth0.100", frameTo(macA), true, 0, 1, true, 0},
		{"tagged on the VLAN", []neigh.StaticInterface{nic, vlan}, "eth0.100", frameTo(macA, 100), true, 0, 0, true, 0},
		{"two tags", []neigh.StaticInterface{nic, vlan, inner}, "eth0", frameTo(macA, 100, 7), true, 0, 0, true, 0},
		{"untagged on the inner VLAN", []neigh.StaticInterface{nic, vlan, inner}, "eth0.100.7", frameTo(macA), true, 0, 2, true, 0},
		{"VLAN alone", []neigh.StaticInterface{lone}, "up.5", frameTo(macB), true, 0, 1, true, 0},
		{"VLAN alone, untagged on its parent", []neigh.StaticInterface{lone}, "up", frameTo(macB), true, 0, 0, false, 0},
		{"VLAN alone, its parent's frame", []neigh.StaticInterface{other, lone, lone2}, "up", frameTo(macB, 6), true, 1, 0, true, 2},
	} {
		n := site(t, c.ifs...)
		port, missing, ok := n.arrival(c.name, c.frame)
		if ok != c.ok || ok && (port != c.port || missing.n != c.tags) {
			t.Errorf("%s: port %d, %d tags, %v", c.what, port, missing.n, ok)
			continue
		}
		if !ok {
			continue
		}
		b := make([]byte, 64)
		f := b[:putFrame(b, c.frame, missing)]
		if n.host(port, f) != c.host {
			t.Errorf("%s: host is %v", c.what, !c.host)
		}
		if got := n.block(port, f); c.host && got != c.block {
			t.Errorf("%s: block %d, want %d", c.what, got, c.block)
		}
	}
}

func TestPutFrame(t *testing.T) {
	if got, want := frameTo(macA, 100), append(append(macA[:], 2, 9, 9, 9, 9, 9), 0x81, 0, 0, 100, 8, 0, 0x45); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestNetworkFaults(t *testing.T) {
	for _, c := range []struct {
		text string
		cfg  neigh.StaticConfig
	}{
		{"no interfaces", neigh.StaticConfig{}},
		{"interface eth0: no mac", neigh.StaticConfig{Interfaces: []neigh.StaticInterface{{Name: "eth0"}}}},
		{"on no interface", neigh.StaticConfig{Interfaces: []neigh.StaticInterface{{Name: "eth0", MAC: macA}},
			Routes: []neigh.StaticRoute{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.254")}}}},
	} {
		if _, err := newNetwork(c.cfg); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}
