package numa

import (
	"errors"
	"runtime"
	"testing"
)

func TestAlloc(t *testing.T) {
	for _, huge := range []HugePages{HugeOff, HugeAuto} {
		m, err := Alloc(3<<20+1, huge, 0)
		if err != nil {
			t.Fatal(err)
		}
		want := 3<<20 + 1
		if huge == HugeAuto {
			want = 4 << 20
		}
		if len(m.Bytes) != want {
			t.Errorf("%d: %d bytes, want %d", huge, len(m.Bytes), want)
		}
		for _, b := range m.Bytes {
			if b != 0 {
				t.Fatal("memory is not zeroed")
			}
		}
		m.Bytes[0], m.Bytes[len(m.Bytes)-1] = 1, 1
		if huge == HugeAuto && address(m.Bytes)%HugePageSize != 0 {
			t.Errorf("%d: not aligned to huge pages", huge)
		}
		t.Logf("%d: %v pages", huge, m.Pages)
		for range 2 {
			if err := m.Free(); err != nil {
				t.Error(err)
			}
		}
	}
	if m, err := Alloc(1<<20, HugeRequired, -1); err != nil {
		if !errors.Is(err, ErrNoHugePages) {
			t.Error(err)
		}
	} else if m.Pages == SmallPages {
		t.Error("required huge pages are small")
	} else if err := m.Free(); err != nil {
		t.Error(err)
	}
	for _, bad := range []int{0, -1} {
		if _, err := Alloc(bad, HugeOff, -1); err == nil {
			t.Errorf("allocated %d bytes", bad)
		}
	}
	if _, err := Alloc(4096, HugeOff, 5000); err == nil {
		t.Error("memory on node 5000")
	}
}

func TestPinAndPrefer(t *testing.T) {
	runtime.LockOSThread() // for ever: the thread ends with the test's goroutine
	allowed, err := Allowed()
	if err != nil || len(allowed) == 0 {
		t.Fatal(allowed, err)
	}
	last := allowed[len(allowed)-1]
	if err := Pin(last); err != nil {
		t.Fatal(err)
	}
	if now, err := Allowed(); err != nil || now.String() != (CPUs{last}).String() {
		t.Errorf("pinned to %d, may run on %v, %v", last, now, err)
	}
	if err := PinTo(allowed); err != nil {
		t.Error(err)
	}
	if err := Pin(MaxCPU); err == nil {
		t.Error("pinned to a CPU that is not there")
	}
	for _, node := range []int{0, -1} {
		if err := Prefer(node); err != nil {
			t.Error(err)
		}
	}
}

func TestReadThisMachine(t *testing.T) {
	top, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(top.CPUs(-1)) == 0 || top.NodeOf(top.CPUs(-1)[0]) < 0 {
		t.Errorf("%+v", top.Nodes)
	}
}
