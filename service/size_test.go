package service

import (
	"testing"
	"unsafe"
)

// A slot is two cache lines, and what schedulers read is one of them.
func TestServerLayout(t *testing.T) {
	var s Server
	if n := unsafe.Sizeof(s); n != 128 {
		t.Errorf("Server is %d bytes, want 128", n)
	}
	if o := unsafe.Offsetof(s.Weight); o != 64 {
		t.Errorf("Weight is at %d, want 64", o)
	}
}

// Settle brings counts up to date, and applies thresholds set since they were counted.
func TestSettle(t *testing.T) {
	s := &Server{Number: 1, Weight: 1}
	s.Settle(2, 3)
	s.Settle(-1, 1)
	if a, i, _ := s.Counts(); a != 1 || i != 4 {
		t.Errorf("%d active, %d inactive", a, i)
	}
	s.Upper = 6
	s.Settle(0, 1)
	if !s.Overloaded() {
		t.Error("the upper threshold was not applied")
	}
	s.Settle(0, -3)
	if s.Overloaded() {
		t.Error("the lower threshold was not applied")
	}
}

// The word that serialises a scheduler shares no cache line with what all workers read.
func TestPickerLayout(t *testing.T) {
	var p picker
	if size, own, read := unsafe.Sizeof(p), unsafe.Offsetof(p.own), unsafe.Offsetof(p.scheduler); size%64 != 0 || own%64 != 0 || own/64 == read/64 {
		t.Errorf("%d bytes, the word at %d, the scheduler at %d", size, own, read)
	}
}
