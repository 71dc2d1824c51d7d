package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// noiseLimit is how much of one CPU programs that are not ours may take while something is measured; else it is measured
// again.
const noiseLimit = 0.05

// noise counts the figures that were made while others used the machine, for the end of a report.
type noise struct {
	tries int // to measure without others
	lines int
}

func (n noise) String() string {
	if n.lines == 0 {
		return ""
	}
	return fmt.Sprintf("\n  %d measurements were disturbed by other programs %d times in a row: repeat this on a quiet machine.\n", n.lines, n.tries)
}

// undisturbed calls f until the rest of the machine was quiet meanwhile, or patience ends.
func (n *noise) undisturbed(f func() error) error {
	for try := 1; ; try++ {
		before, err := othersTime()
		if err != nil {
			return err
		}
		start := time.Now()
		if err := f(); err != nil {
			return err
		}
		after, err := othersTime()
		if err != nil {
			return err
		}
		if float64(after-before) <= noiseLimit*float64(time.Since(start)) {
			return nil
		}
		if try >= n.tries {
			n.lines++
			return nil
		}
	}
}

// process is what othersTime needs of a line of /proc/PID/stat.
type process struct {
	pid, parent int
	time        time.Duration // of its own and of children that it has waited for
}

// othersTime is the CPU time used by all programs but this one, what it has started, and the kernel's threads, up to a
// constant.
func othersTime() (time.Duration, error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	return others(all, os.Getpid()), nil
}

// processes lists all that run, by number.
func processes() (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		p, err := parseStat(b)
		if err != nil {
			return nil, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		p.pid = pid
		all[pid] = p
	}
	return all, nil
}

// kthreadd is the parent of the kernel's threads.
const kthreadd = 2

func others(all map[int]process, self int) (sum time.Duration) {
	for _, p := range all {
		mine := p.pid == kthreadd
		for q, ok := p, true; ok && !mine; q, ok = all[q.parent] {
			mine = q.pid == self || q.parent == kthreadd
		}
		if !mine {
			sum += p.time
		}
	}
	return sum
}

func parseStat(b []byte) (p process, err error) {
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // begins with field 3
	if len(fields) < 17-2 {
		return p, fmt.Errorf("only %d fields", len(fields)+2)
	}
	number := func(field int) int64 {
		n, convErr := strconv.ParseInt(string(fields[field-3]), 10, 64)
		if convErr != nil {
			err = convErr
		}
		return n
	}
	p.parent = int(number(4))
	p.time = time.Duration(number(14)+number(15)+number(16)+number(17)) * tick
	return p, err
}
