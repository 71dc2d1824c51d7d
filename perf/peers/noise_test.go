package main

import (
	"testing"
	"time"
)

func TestOthers(t *testing.T) {
	all := map[int]process{}
	for _, p := range []process{
		{1, 0, 1 * time.Second},
		{2, 0, 2 * time.Second},  // kthreadd
		{3, 2, 4 * time.Second},  // a kernel thread
		{10, 1, 8 * time.Second}, // a shell
		{11, 10, 16 * time.Second},
		{20, 11, 32 * time.Second}, // ours
		{21, 20, 64 * time.Second}, // our child
		{30, 10, 128 * time.Second},
	} {
		all[p.pid] = p
	}
	if got, want := others(all, 20), (1+8+16+128)*time.Second; got != want {
		t.Errorf("others = %v, want %v", got, want)
	}
}

func TestParseStat(t *testing.T) {
	p, err := parseStat([]byte("77 (a) b (c) S 5 77 77 0 -1 4194304 1 2 3 4 100 200 30 4 20 0 1 0 5 6 7"))
	if err != nil || p.parent != 5 || p.time != 3340*time.Millisecond {
		t.Errorf("parseStat = %+v, %v; want parent 5 and 3.34s", p, err)
	}
	for _, bad := range []string{"77 (a) S 5", "77 (a) S x 77 77 0 -1 4194304 1 2 3 4 100 200 30 4 20 0 1"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) gave no error", bad)
		}
	}
}
