package service

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestTunables(t *testing.T) {
	d := DefaultTunables()
	for _, c := range []struct{ name, value, want string }{ // "": refused; answers of Linux 7.3
		{"est_nice", "30", ""}, {"est_nice", "-21", ""}, {"est_nice", "5", "5"},
		{"conn_lfactor", "9", ""}, {"conn_lfactor", "-9", ""}, {"conn_lfactor", "8", "8"}, {"svc_lfactor", "-9", ""},
		{"conn_max", "-1", ""}, {"conn_max", "0", "0"}, {"conn_max", "5", "5"},
		{"sloppy_tcp", "2", "1"}, {"sloppy_tcp", "-1", "1"}, {"sloppy_tcp", "0", "0"}, {"sloppy_tcp", "yes", ""},
		{"sync_ports", "3", ""}, {"sync_ports", "256", "256"}, {"sync_ports", "0", ""}, {"sync_version", "2", ""},
		{"drop_entry", "4", ""}, {"drop_entry", "3", "3"}, {"drop_packet", "-1", ""}, {"secure_tcp", "4", ""},
		{"sync_retries", "4", ""}, {"conn_reuse_mode", "-5", "-5"}, {"amemthresh", "-5", "-5"},
		{"sync_refresh_period", "-1", "-1"}, {"sync_qlen_max", "5", "5"},
		{"sync_threshold", "3 3", ""}, {"sync_threshold", "0 0", "0\t0"}, {"sync_threshold", "5 0", "5\t0"},
		{"sync_threshold", "2  7", "2\t7"}, {"sync_threshold", "-1 7", ""}, {"sync_threshold", "4", ""},
		{"overhead", "classic", "classic"}, {"overhead", "2026", "2026"}, {"overhead", "new", ""},
		{"lblc_expiration", " 60\n", "60"}, {"amemthresh", "4294967296", ""}, {"est_cpulist", "0-3", "0-3"},
	} {
		v := d
		err := v.Set(c.name, c.value)
		if c.want == "" {
			if !errors.Is(err, ErrInvalid) || v != d {
				t.Errorf("%s = %q: %v, or the value changed", c.name, c.value, err)
			}
			continue
		}
		if got, ok := v.Get(c.name); err != nil || !ok || got != c.want {
			t.Errorf("%s = %q: %v, reads %q, want %q", c.name, c.value, err, got, c.want)
		}
	}
	if err := d.Set("nonsense", "1"); !errors.Is(err, ErrNoTunable) {
		t.Errorf("unknown name: %v", err)
	}
}

// Every name reads, and what it reads can be written.
func TestTunableNames(t *testing.T) {
	d := DefaultTunables()
	names := d.Names()
	if len(names) < 36 {
		t.Errorf("only %d names", len(names))
	}
	for _, n := range names {
		v, ok := d.Get(n)
		e := d
		if !ok || e.Set(n, v) != nil || e != d {
			t.Errorf("%s reads %q, which cannot be written back", n, v)
		}
	}
}

// Every tunable has its row in the reference.
func TestTunablesDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/tunables.md")
	if err != nil {
		t.Fatal(err)
	}
	d := DefaultTunables()
	for _, n := range d.Names() {
		if !strings.Contains(string(page), "`"+n+"`") {
			t.Errorf("docs/reference/tunables.md does not tell what %s does", n)
		}
	}
}
