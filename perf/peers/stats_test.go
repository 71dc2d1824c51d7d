package main

import (
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	values := []float64{2, 1}
	median(values)
	if values[0] != 2 {
		t.Error("median has sorted its caller's values")
	}
}

func TestIdleTime(t *testing.T) {
	const stat = "cpu  10 0 20 300 40 0 0 0 0 0\n" +
		"cpu0 4 0 8 100 10 1 2 3 0 0\n" +
		"cpu1 6 0 12 200 30 0 0 0 0 0\n" +
		"intr 55 1 2\nctxt 7\n"
	idle, cpus, err := idleTime(stat)
	if err != nil || cpus != 2 || idle != 3400*time.Millisecond {
		t.Errorf("idleTime = %v of %d CPUs, %v; want 3.4s of 2", idle, cpus, err)
	}
	for _, bad := range []string{"", "cpu  1 2 3 4 5 6\n", "cpu0 1 2 3 x 5 6\n"} {
		if _, _, err := idleTime(bad); err == nil {
			t.Errorf("idleTime(%q) gave no error", bad)
		}
	}
}

func TestParseResident(t *testing.T) {
	got, err := parseResident("Name:\tfastlb\nVmRSS:\t    1024 kB\nThreads:\t7\nHugetlbPages:\t    2048 kB\n")
	if err != nil || got != 3<<20 {
		t.Errorf("parseResident = %d, %v; want 3 MiB", got, err)
	}
	for _, bad := range []string{"Name:\tkthreadd\n", "VmRSS:\tx kB\n"} {
		if _, err := parseResident(bad); err == nil {
			t.Errorf("parseResident(%q) gave no error", bad)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	table(&b, [][]string{{"", "Mpps"}, {"fastlb, NAT", "0.5"}, {"µ", "10.25"}})
	const want = "                Mpps\n  fastlb, NAT    0.5\n  µ            10.25\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
