package bench

import (
	"testing"
	"time"
)

// Every combination forwards what it is given, without allocating.
func TestRun(t *testing.T) {
	o := Defaults()
	o.Connections = []int{1000}
	o.Duration = 20 * time.Millisecond
	r, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != len(o.Methods)*len(o.Families)*len(o.Kinds) {
		t.Fatalf("%d results", len(r.Results))
	}
	for _, v := range r.Results {
		if v.NSPerPacket <= 0 || v.MissNS <= 0 || v.BytesPer > 200 {
			t.Errorf("%+v", v)
		}
		t.Logf("%s v%d %s: %.1f ns, allocs %.4f", v.Method, v.Family, v.Kind, v.NSPerPacket, v.Allocs)
	}
}
