package director

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/fastlb/fastlb/ring"
)

const zero, copying = ring.BindZeroCopy, ring.BindCopy

func TestFirstLayout(t *testing.T) {
	for _, c := range []struct {
		try   []bool
		apart bool
		want  layout
	}{
		{[]bool{true, true}, false, layout{{[]int{0, 1}, zero}}},
		{[]bool{false, false}, false, layout{{[]int{0, 1}, copying}}},
		{[]bool{false, true, false}, false, layout{{[]int{0, 2}, copying}, {[]int{1}, zero}}},
		{[]bool{false, false}, true, layout{{[]int{0}, copying}, {[]int{1}, copying}}},
	} {
		if got := firstLayout(c.try, c.apart); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v, apart %v: %v, want %v", c.try, c.apart, got, c.want)
		}
	}
}

// Drivers that refuse what is asked of them end with the best that they agree to, whatever else the others can.
func TestLayoutRefused(t *testing.T) {
	for _, c := range []struct {
		zero, share string // by NIC: whether it can do zero copy, and share its frames with another's
		want        layout
	}{
		{"yy", "yy", layout{{[]int{0, 1}, zero}}},
		{"nn", "yy", layout{{[]int{0, 1}, copying}}},
		{"yn", "yy", layout{{[]int{0}, zero}, {[]int{1}, copying}}},
		{"ny", "yy", layout{{[]int{1}, zero}, {[]int{0}, copying}}},
		{"yy", "yn", layout{{[]int{0}, zero}, {[]int{1}, zero}}},
		{"nyny", "yyyn", layout{{[]int{1}, zero}, {[]int{0, 2}, copying}, {[]int{3}, zero}}},
		{"nnn", "nnn", layout{{[]int{0, 1, 2}, copying}}},
	} {
		try := make([]bool, len(c.zero))
		for i := range try {
			try[i] = true
		}
		l, tries := firstLayout(try, false), 0
	open:
		for ; ; tries++ {
			if tries > 2*len(try) {
				t.Fatalf("%+v: no end: %v", c, l)
			}
			for nic := range try {
				g := l[l.of(nic)]
				if g.bind == copying || c.zero[nic] == 'y' && (g.nics[0] == nic || c.share[nic] == 'y') {
					continue
				}
				var ok bool
				if l, ok = l.refused(nic); !ok {
					t.Fatalf("%+v: there is no other way than %v", c, l)
				}
				continue open
			}
			break
		}
		if fmt.Sprint(l) != fmt.Sprint(c.want) {
			t.Errorf("%+v: %v, want %v", c, l, c.want)
		}
	}
	if _, ok := (layout{{[]int{0}, copying}}).refused(0); ok {
		t.Error("there is another way than to copy")
	}
}

// Each group has frames for its own rings; alone there is no reserve.
func TestLayoutFrames(t *testing.T) {
	sizes := ring.Sizes{Fill: 64, Completion: 64, RX: 64, TX: 64}
	one := layout{{[]int{0, 1}, zero}}.frames([][]int{{0}, {0, 1}}, sizes)
	if want := 3*128 + 2*256 + 1024; len(one) != 1 || one[0] != want {
		t.Errorf("one group: %v, want %d", one, want)
	}
	two := layout{{[]int{0}, zero}, {[]int{1}, copying}}.frames([][]int{{0}, {0, 1}}, sizes)
	if want := []int{128 + 256 + 1024 + ring.Reserve, 256 + 256 + 1024 + ring.Reserve}; !reflect.DeepEqual(two, want) {
		t.Errorf("two groups: %v, want %v", two, want)
	}
}
