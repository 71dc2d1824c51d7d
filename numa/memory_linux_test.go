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

func TestSpread(t *testing.T) {
	top, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, n := range top.Nodes {
		all = append(all, n.Number)
	}
	runtime.LockOSThread() // for ever: the thread ends with the test's goroutine
	for _, nodes := range [][]int{all[:1], all, {all[0], all[0]}, nil} {
		if err := Spread(nodes); err != nil {
			t.Errorf("over %v: %v", nodes, err)
		}
	}
	if err := Spread([]int{0, 5000}); err == nil {
		t.Error("spread over node 5000")
	}
	if err := Spread([]int{0, -1}); err == nil {
		t.Error("spread over node -1")
	}
}

func TestReachable(t *testing.T) {
	runtime.LockOSThread() // for ever: the thread ends with the test's goroutine
	top, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	before, err := Allowed()
	if err != nil {
		t.Fatal(err)
	}
	if err := Pin(before[0]); err != nil {
		t.Fatal(err)
	}
	got, err := Reachable(top.Online)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range before { // wider than where this thread may run now
		if !got.Contains(c) {
			t.Errorf("CPU %d could be had, but is not in %s", c, got)
		}
	}
	if now, err := Allowed(); err != nil || len(now) != 1 {
		t.Errorf("the asking thread has moved: %s, %v", now, err)
	}
	if _, err := Reachable(CPUs{MaxCPU}); err == nil {
		t.Error("a CPU that is not there can be had")
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
