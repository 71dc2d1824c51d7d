package ipvsadm

import (
	"strings"
	"testing"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// TestNumbers holds the examples of the command's number format.
func TestNumbers(t *testing.T) {
	for n, want := range map[uint64][2]string{
		0:                    {"        0", "        0"},
		99999999:             {" 99999999", " 99999999"},
		100000000:            {"  100000K", " 100000000"},
		999999999:            {"  999999K", " 999999999"},
		1000000000:           {"    1000M", " 1000000000"},
		99999999999:          {"   99999M", " 99999999999"},
		123456789012:         {"     123G", " 123456789012"},
		100000000000000:      {"     100T", " 100000000000000"},
		18446744073709551615: {"18446744T", " 18446744073709551615"},
	} {
		for i, exact := range []bool{false, true} {
			var b strings.Builder
			format{exact: exact}.numbers(&b, n)
			if b.String() != want[i] {
				t.Errorf("%d exact %v: %q, want %q", n, exact, b.String(), want[i])
			}
		}
	}
}

// TestServerLines checks the columns that no recording fills.
func TestServerLines(t *testing.T) {
	spec := service.Spec{ID: service.ID{Family: 4, Mark: 1}, Scheduler: "wlc"}
	srv := control.ServerEntry{
		Active: 3, Inactive: 4294967295, Persistent: 2,
		Stats: service.Stats{Conns: 12, InPkts: 340, InBytes: 123456789000},
		Rates: service.Stats{Conns: 300000000, InPkts: 40, InBytes: 5000000000},
	}
	srv.Spec.Addr, srv.Spec.Port = inet("172.16.0.2"), 80
	srv.Spec.Upper, srv.Spec.Lower, srv.Spec.Weight, srv.Spec.Method = 100, 50, 7, service.Local
	for v, want := range map[view]string{
		plain:           "  -> 172.16.0.2:80                Local   7      3          4294967295\n",
		stats:           "  -> 172.16.0.2:80                      12      340        0     123G        0\n",
		rates:           "  -> 172.16.0.2:80                300000000       40        0    5000M        0\n",
		thresholds:      "  -> 172.16.0.2:80                100        50         3          4294967295\n",
		persistentConns: "  -> 172.16.0.2:80                7         2           3          4294967295\n",
		tunInfo:         "  -> 172.16.0.2:80                Local   n/a           7      3          4294967295\n",
		rules:           "-a -f 1 -r 172.16.0.2:80 -g -w 7\n",
	} {
		var b strings.Builder
		f := format{view: v, numeric: true}
		f.server(&b, &Names{}, &spec.ID, f.serviceName(&Names{}, &spec.ID), &srv)
		if b.String() != want {
			t.Errorf("view %d: %q, want %q", v, b.String(), want)
		}
	}
}
