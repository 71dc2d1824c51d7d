package xdp

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// A driver takes the form of the program that its MTU needs; where it takes none, its own words are shown.
func TestLiveLargeMTU(t *testing.T) {
	inNamespace(t)
	ifc, far := veth(t, "a", "b", 1)
	for _, c := range []struct {
		mtu   int
		large bool
		frags bool
	}{{1500, false, false}, {1500, true, true}, {3600, false, true}, {9000, true, true}} {
		for _, index := range []int{ifc.Index, far} {
			l, err := netlink.LinkByIndex(index)
			if err == nil {
				err = netlink.LinkSetMTU(l, c.mtu)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		p := load(t)
		if p.frags == nil {
			skip(t, "the kernel knows no programs for packets of several buffers: "+p.noFrags.Error())
		}
		ifc.Large = c.large
		a, err := p.Attach(ifc, Native)
		if err != nil {
			t.Fatalf("MTU %d: %v", c.mtu, err)
		}
		if a.Frags() != c.frags {
			t.Errorf("MTU %d, large %v: for packets of several buffers: %v", c.mtu, c.large, a.Frags())
		}
		if err := a.Detach(); err != nil {
			t.Error(err)
		}
		if id, _ := attachedID(t, ifc.Index); id != 0 {
			t.Errorf("MTU %d: program %d is left", c.mtu, id)
		}
	}
	p := load(t)
	if err := p.frags.Close(); err != nil {
		t.Error(err)
	}
	p.frags, p.noFrags = nil, errors.New("kernel is too old")
	_, err := p.Attach(ifc, Native)
	if !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "MTU is too large") || !strings.Contains(err.Error(), "Linux 5.18") {
		t.Errorf("a plain program at MTU 9000: %v", err)
	}
	if a, err := p.Attach(ifc, Generic); err != nil || a.Frags() {
		t.Errorf("generic mode at MTU 9000: %v", err)
	} else if err := a.Detach(); err != nil {
		t.Error(err)
	}
}

func TestLiveFeatures(t *testing.T) {
	inNamespace(t)
	ifc, _ := veth(t, "a", "b", 1)
	f, err := ReadFeatures(ifc.Index)
	if err != nil {
		skip(t, err.Error())
	}
	if !f.ReceiveSegments || f.ZeroCopySegments > 1 {
		t.Errorf("features of a veth: %+v", f)
	}
	if _, err := ReadFeatures(9999); err == nil {
		t.Error("features of no interface")
	}
}
