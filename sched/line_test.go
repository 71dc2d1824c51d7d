package sched

import (
	"testing"
	"unsafe"
)

// What a choice of rr or wrr changes is one cache line with the word that serialises it.
func TestLine(t *testing.T) {
	if n := unsafe.Sizeof(rr{}); n != 64 {
		t.Errorf("rr is %d bytes", n)
	}
	if n := unsafe.Sizeof(wrr{}); n != 64 {
		t.Errorf("wrr is %d bytes", n)
	}
}
