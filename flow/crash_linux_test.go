package flow

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

const (
	crashCapacity = 40000
	crashWorkers  = 3
	crashKept     = 200 // connections 0 … are there from the beginning and never removed
)

// A director is killed again and again in the middle of its work; each time the table that it leaves is consistent, holds
// what nobody removed, and serves the next director.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.state")
	rng := rand.New(rand.NewPCG(5, 5))
	cycles := 12
	if testing.Short() {
		cycles = 4
	}
	for cycle := range cycles {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
		cmd.Env = append(os.Environ(), "FLOW_CRASH_FILE="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 1 + rng.IntN(40); n > 0 && lines.Scan(); n-- {
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, out); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed: that is what it says

		m, err := Map(crashOptions(path))
		if err != nil {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
		tab, err := Open(m.Region("flows"), crashWorkers)
		if err != nil {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
		t.Logf("cycle %d: %d connections; last line %q", cycle, tab.Len(), lines.Text())
		checkTable(t, tab)
		for n := range uint32(crashKept) {
			k := tcpKey(n)
			if r, _ := tab.Lookup(&k); r == 0 {
				t.Fatalf("cycle %d: connection %d is lost", cycle, n)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func crashOptions(path string) MapOptions {
	return MapOptions{Path: path, HugePages: HugeOff, Regions: []RegionSpec{{"flows", Size(crashCapacity)}}}
}

// TestCrashChild is the director that is killed: another process, started by TestKilled.
func TestCrashChild(t *testing.T) {
	path := os.Getenv("FLOW_CRASH_FILE")
	if path == "" {
		return // the test by that name is TestKilled
	}
	m, err := Map(crashOptions(path))
	if err != nil {
		t.Fatal(err)
	}
	mem := m.Region("flows")
	tab, err := Open(mem, crashWorkers)
	if err != nil {
		if tab, err = New(mem, Config{Capacity: crashCapacity, Seed: testSeed, Workers: crashWorkers}); err != nil {
			t.Fatal(err)
		}
	}
	tab.BeginRound(0)
	for n := range uint32(crashKept) {
		k := tcpKey(n)
		if r, _ := tab.Lookup(&k); r == 0 {
			addConn(tab, 0, n, n%2*3, 1<<60)
		}
	}
	tab.GoIdle(0)
	for w := range crashWorkers {
		go func() {
			rng := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(w)))
			for round := 0; ; round++ {
				runtime.Gosched() // more workers than processors: let none hold up the grace period for long
				tab.BeginRound(w)
				for range 16 {
					n := crashKept + rng.Uint32N(2000)
					k := tcpKey(n)
					r, _ := tab.Lookup(&k)
					switch {
					case r == 0 && n%4 == 2:
						putConn(tab, w, n, n%2*3, 1<<60, (*Table).InsertDeferred)
					case r == 0:
						addConn(tab, w, n, n%2*3, 1<<60)
					case rng.Uint32N(8) == 0 && n%4 != 2:
						tab.Rekey(w, r, func(c *Conn) { c.DPort = uint16(rng.Uint32()) })
					default:
						tab.Remove(w, r)
					}
				}
				tab.LinkPending(w)
				if w == 0 && round%64 == 0 {
					if _, err := fmt.Println(round, tab.Len()); err != nil {
						return
					}
				}
			}
		}()
	}
	select {}
}
