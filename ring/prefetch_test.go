package ring

import "testing"

// Prefetch changes nothing and takes any batch.
func TestPrefetch(t *testing.T) {
	mem := make([]byte, 4*FrameSize)
	mem[5000] = 7
	d := []Desc{{Addr: 5000, Len: 60}, {Addr: 0, Len: 60}}
	Prefetch(mem, nil)
	Prefetch(nil, d)
	Prefetch(mem, d)
	if mem[5000] != 7 || d[0].Addr != 5000 {
		t.Error("memory changed")
	}
}
