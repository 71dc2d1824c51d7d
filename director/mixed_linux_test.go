package director

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastlb/fastlb/ring"
)

// Two interfaces that cannot share frames: what goes from one to the other is copied, and at the end every frame is where
// it belongs, whatever the MTU. Veths could share theirs; here they are kept from it.
func TestInterfacesApart(t *testing.T) {
	for i := range 4 {
		apart, large := i&1 == 0, i&2 != 0
		s := newSite(t)
		if large {
			s.mtu(9000)
		}
		s.echo()
		for i := range s.config.Interfaces {
			s.config.Interfaces[i].Attach = "copy"
		}
		s.in(&s.director)
		d, err := New(Options{Config: s.config, apart: apart})
		ok(t, err)
		t.Cleanup(func() { d.Stop() })
		exchange(t, s.dial(vip), 10<<20)
		exchange(t, s.dial(vipDR), 1<<20)
		st, err := d.Status()
		ok(t, err)
		want := [][]string{{"c", "s"}}
		if apart {
			want = [][]string{{"c"}, {"s"}}
		}
		if !reflect.DeepEqual(st.Groups, want) {
			t.Errorf("apart %v: groups %v, want %v", apart, st.Groups, want)
		}
		m := d.quiet(t)
		for _, f := range st.Interfaces {
			if large && f.Longest < 9000 || !large && f.Longest != 3822 {
				t.Errorf("apart %v: %s carries packets of %d bytes at MTU %d", apart, f.Name, f.Longest, f.MTU)
			}
		}
		if copied := m.Copied > 0; copied != apart {
			t.Errorf("apart %v: %d frames were copied", apart, m.Copied)
		}
		s.in(&s.director)
		ok(t, d.Stop())
	}
}

// Who asks for zero copy by name gets it or an error that names the interface, whatever the others do; nothing is left of
// the try.
func TestZeroCopyAskedFor(t *testing.T) {
	s := newSite(t)
	s.config.Interfaces[0].Attach, s.config.Interfaces[1].Attach = "copy", "zerocopy"
	before := s.found()
	s.in(&s.director)
	d, err := New(Options{Config: s.config})
	if err == nil {
		d.Stop()
		t.Fatal("veth does zero copy now: the test needs another interface")
	}
	if want := "interface s: attach: zerocopy: "; !strings.Contains(err.Error(), want) || !errors.Is(err, ring.ErrNotSupported) {
		t.Errorf("%v, want %q and that it is not supported", err, want)
	}
	if now := s.found(); now != before {
		t.Errorf("left behind:\n%s", now)
	}
}

// quiet waits until nothing is on its way and every frame is accounted for, and returns the account of the only worker.
func (d *Director) quiet(t *testing.T) MemoryStatus {
	t.Helper()
	limit := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := d.Status()
		ok(t, err)
		settled := !slices.ContainsFunc(st.Workers, func(w WorkerStatus) bool {
			m := w.Memory
			return m.Missing != 0 || m.Received != 0 || m.Sending != 0 || m.Held != 0 || m.Free+m.Filled+m.InDriver != w.Frames
		})
		if settled {
			return st.Workers[0].Memory
		}
		select {
		case <-limit:
			t.Fatalf("the frames are not accounted for: %+v of %d", st.Workers[0].Memory, st.Workers[0].Frames)
		case <-tick.C:
		}
	}
}
