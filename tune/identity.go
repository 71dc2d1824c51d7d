package tune

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// identify looks a process up.
func (s System) identify(pid int) (identity, error) {
	boot, err := os.ReadFile(filepath.Join(s.Proc, "sys/kernel/random/boot_id"))
	if err != nil {
		return identity{}, fmt.Errorf("number of this boot: %w", err)
	}
	stat, err := os.ReadFile(filepath.Join(s.Proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return identity{}, fmt.Errorf("process %d: %w", pid, err)
	}
	// The second word, in parentheses, may hold anything; the start is the 22nd word.
	const start = 22 - 3
	words := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(words) <= start {
		return identity{}, fmt.Errorf("process %d: its stat has too few words", pid)
	}
	at, err := strconv.ParseUint(words[start], 10, 64)
	if err != nil {
		return identity{}, fmt.Errorf("process %d: start: %w", pid, err)
	}
	return identity{Boot: strings.TrimSpace(string(boot)), PID: pid, Start: at}, nil
}

// Running tells whether a program of that name runs, as far as this process can see.
func (s System) Running(name string) bool {
	files, _ := filepath.Glob(filepath.Join(s.Proc, "[0-9]*", "comm"))
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == name { // processes come and go
			return true
		}
	}
	return false
}
