package flow

import (
	"testing"
	"unsafe"
)

// The record is two cache lines, and the second begins with what an established packet does not need.
func TestConnLayout(t *testing.T) {
	var c Conn
	if n := unsafe.Sizeof(c); n != 128 {
		t.Errorf("Conn is %d bytes, want 128", n)
	}
	if o := unsafe.Offsetof(c.Dest); o != 64 {
		t.Errorf("Dest is at %d, want 64", o)
	}
	if o := unsafe.Offsetof(c.Deadline); o != 48 {
		t.Errorf("Deadline is at %d, want 48", o)
	}
}
