package flow

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func stateSpecs(capacity uint32) []RegionSpec {
	return []RegionSpec{{"flows", Size(capacity)}, {"servers", 10000}, {"counters", 5000}}
}

func mustMap(t *testing.T, o MapOptions) *Memory {
	t.Helper()
	m, err := Map(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What is in the file when a director dies is there for the next.
func TestStateFileOutlives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.state")
	o := MapOptions{Path: path, Regions: stateSpecs(20000)}
	m := mustMap(t, o)
	if !m.Fresh() {
		t.Error("a new file is not fresh")
	}
	tab, err := New(m.Region("flows"), Config{Capacity: 20000, Seed: testSeed, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	tab.BeginRound(0)
	for n := range uint32(5000) {
		addConn(tab, 0, n, n%2*3, 7e9)
	}
	copy(m.Region("servers"), "hello")
	if _, err := Map(o); !errors.Is(err, ErrStateInUse) {
		t.Errorf("second director: %v, want ErrStateInUse", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = mustMap(t, o)
	defer m.Close()
	if m.Fresh() || string(m.Region("servers")[:5]) != "hello" || m.Region("nothing") != nil {
		t.Errorf("the file's content is lost")
	}
	tab, err = Open(m.Region("flows"), 3)
	if err != nil {
		t.Fatal(err)
	}
	if tab.Len() != 5000 || tab.Seed() != testSeed {
		t.Errorf("%d connections after opening, want 5000", tab.Len())
	}
	for n := range uint32(5000) {
		k := tcpKey(n)
		if r, _ := tab.Lookup(&k); r == 0 {
			t.Fatalf("connection %d is lost", n)
		}
	}
	checkTable(t, tab)
}

func TestStateFileRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "flows.state")
	m := mustMap(t, MapOptions{Path: path, Regions: stateSpecs(1000)})
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Map(MapOptions{Path: path, Regions: stateSpecs(2000)}); !errors.Is(err, ErrStateLayout) {
		t.Errorf("other capacity: %v, want ErrStateLayout", err)
	}
	other := filepath.Join(dir, "letter.txt")
	for _, size := range []int{10, 3 << 20} {
		b := make([]byte, size)
		copy(b, "dear all")
		if err := os.WriteFile(other, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Map(MapOptions{Path: other, Regions: stateSpecs(1000)}); !errors.Is(err, ErrNotState) {
			t.Errorf("a foreign file of %d bytes: %v, want ErrNotState", size, err)
		}
	}
	if _, err := Map(MapOptions{Path: filepath.Join(dir, "none", "f"), Regions: stateSpecs(1000)}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	// A director that died before it wrote the header leaves zeros: the file is made anew.
	half := filepath.Join(dir, "half.state")
	if err := os.WriteFile(half, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m = mustMap(t, MapOptions{Path: half, Regions: stateSpecs(1000)})
	defer m.Close()
	if !m.Fresh() {
		t.Error("an unfinished file is not fresh")
	}
}

func TestStateNameless(t *testing.T) {
	m := mustMap(t, MapOptions{Regions: stateSpecs(100000)})
	defer m.Close()
	t.Logf("pages: %s", m.Pages())
	if _, err := New(m.Region("flows"), Config{Capacity: 100000, Seed: testSeed, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	if m.File() == nil {
		return
	}
	// Handed over: the same memory, mapped a second time.
	f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(m.File().Fd())), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	m2, err := Adopt(f, MapOptions{Regions: stateSpecs(100000)})
	if err != nil {
		t.Fatal(err)
	}
	defer m2.Close()
	m.Region("servers")[3] = 77
	if m2.Region("servers")[3] != 77 {
		t.Error("the adopted memory is another")
	}
}
