package replay

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
)

func TestReadCommands(t *testing.T) {
	text := `# a comment
2.5 ipvsadm -L -n   # another
	
 0  tunable expire_nodest_conn 1
2.5 interface eth0 mtu 1400
1700000000.000000001 neighbor 10.0.0.1 02:00:00:00:00:01
1 ipvsadm -A -t '192.0.2.10:80' -s "rr"
`
	got, err := ReadCommands(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range got {
		lines = append(lines, fmt.Sprint(int64(c.At), " ", c.Word, " ", c.Args))
	}
	want := []string{
		"0 tunable [expire_nodest_conn 1]",
		"1000000000 ipvsadm [-A -t 192.0.2.10:80 -s rr]",
		"2500000000 ipvsadm [-L -n]",
		"2500000000 interface [eth0 mtu 1400]",
		"1700000000000000001 neighbor [10.0.0.1 02:00:00:00:00:01]",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if got[2].Line != "2.5 ipvsadm -L -n   # another" {
		t.Errorf("line %q", got[2].Line)
	}
}

func TestCommandFaults(t *testing.T) {
	for _, c := range []struct{ line, text string }{
		{"soon ipvsadm -L", `"soon" is not a time`},
		{"-1 ipvsadm -L", "not a time"},
		{"1e3 ipvsadm -L", "not a time"},
		{"1. ipvsadm -L", "not a time"},
		{"99999999999 ipvsadm -L", "not a time"},
		{"5", "without a command"},
		{"5 reboot", `no command "reboot"`},
		{"5 tunable x", "want tunable NAME VALUE"},
		{"5 interface eth0 up", "want interface NAME mtu N"},
		{"5 interface eth0 mtu big", "MTU"},
		{"5 neighbor 10.0.0 02:00:00:00:00:01", "not an IP address"},
		{"5 neighbor 10.0.0.1 02:00:00:00:00", "not a MAC"},
		{"5 ipvsadm -A -t 'x", "quote is not closed"},
	} {
		_, err := ReadCommands(strings.NewReader("# first\n" + c.line + "\n"))
		var s *SyntaxError
		if !errors.As(err, &s) || s.Line != 2 || !strings.Contains(s.What, c.text) {
			t.Errorf("%q: %v, want %q at line 2", c.line, err, c.text)
		}
	}
}

func TestSeconds(t *testing.T) {
	for s, want := range map[string]clock.Time{
		"0": 0, "7": 7 * clock.Second, ".5": clock.Second / 2, "0.30000000000000004": 3 * clock.Second / 10, "1.000000001": clock.Second + 1,
	} {
		if got, err := Seconds(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
}
