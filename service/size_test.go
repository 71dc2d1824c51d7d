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
