package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of the kernel's CPU times in /proc (USER_HZ).
const tick = time.Second / 100

// cpuTime returns the user and system time that a process has used: fields 14 and 15 of /proc/PID/stat.
func cpuTime(pid int) (user, system time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("the process has ended: %w", err)
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // begins with field 3
	if len(fields) < 15-2 {
		return 0, 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields)+2)
	}
	ticks := func(field int) time.Duration {
		n, convErr := strconv.ParseInt(string(fields[field-3]), 10, 64)
		err = errors.Join(err, convErr)
		return time.Duration(n) * tick
	}
	return ticks(14), ticks(15), err
}

// runTime is the CPU time that all threads of a process have used, to the nanosecond: the first field of their schedstat.
func runTime(pid int) (sum time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("process %d has ended", pid)
	}
	for _, f := range files {
		b, readErr := os.ReadFile(f)
		if errors.Is(readErr, fs.ErrNotExist) || errors.Is(readErr, unix.ESRCH) {
			continue // a thread that ended meanwhile
		}
		fields := strings.Fields(string(b))
		if readErr != nil || len(fields) == 0 {
			return 0, fmt.Errorf("%s: %q, %w", f, b, readErr)
		}
		n, convErr := strconv.ParseInt(fields[0], 10, 64)
		err = errors.Join(err, convErr)
		sum += time.Duration(n)
	}
	return sum, err
}

// treeTime is runTime of a process and of those that it has started and that still run.
func treeTime(pid int) (time.Duration, error) {
	all, err := processes()
	if err != nil {
		return 0, err
	}
	sum, err := runTime(pid)
	for _, p := range all {
		if p.parent == pid && err == nil {
			var t time.Duration
			t, err = treeTime(p.pid)
			sum += t
		}
	}
	return sum, err
}

// busyTime is how long all CPUs together have not been idle, up to a constant: softirqs included, whomever they
// interrupted. The kernel measures idleness, where it only samples what else a CPU does.
func busyTime() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	idle, cpus, err := idleTime(string(b))
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, err
	}
	return time.Duration(cpus)*time.Duration(now.Nano()) - idle, nil
}

// idleTime adds up the idle and iowait columns of each CPU of a /proc/stat.
func idleTime(stat string) (idle time.Duration, cpus int, err error) {
	for line := range strings.Lines(stat) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasPrefix(fields[0], "cpu") || fields[0] == "cpu" {
			continue
		}
		cpus++
		for _, f := range fields[4:6] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, 0, fmt.Errorf("/proc/stat: %w", err)
			}
			idle += time.Duration(n) * tick
		}
	}
	if cpus == 0 {
		return 0, 0, errors.New("/proc/stat names no CPU")
	}
	return idle, cpus, nil
}

// residentBytes is the memory that a process has in RAM (VmRSS), reserved huge pages included.
func residentBytes(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("the process has ended: %w", err)
	}
	return parseResident(string(b))
}

func parseResident(status string) (int64, error) {
	var sum int64
	found := false
	for line := range strings.Lines(status) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "VmRSS:" && fields[0] != "HugetlbPages:" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s %w", fields[0], err)
		}
		sum += n << 10
		found = true
	}
	if !found {
		return 0, errors.New("no VmRSS in the process's status")
	}
	return sum, nil
}

// pin keeps the calling thread, which the caller has locked its goroutine to, on one CPU.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}
