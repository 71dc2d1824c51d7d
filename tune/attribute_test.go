package tune

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oneInterface makes a /sys with the interface eth0, number 7.
func oneInterface(t *testing.T) System {
	t.Helper()
	s := System{Sys: t.TempDir()}
	dir := filepath.Join(s.Sys, "class/net/eth0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{"ifindex": "7\n", "address": "02:00:00:00:00:01\n", "gro_flush_timeout": "123\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(v), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestAttribute(t *testing.T) {
	s := oneInterface(t)
	index := func(name string) (int, bool) { return 7, name == "eth0" }
	a := s.AttributeOf("eth0", 7, "gro_flush_timeout")
	if v, err := a.Read(); v != "123" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	again := s.OpenAttribute(a.Key(), index)
	if again == nil {
		t.Fatalf("nothing is found by its key %q", a.Key())
	}
	if err := again.Write("200000"); err != nil {
		t.Error(err)
	}
	if v, err := a.Read(); v != "200000" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	for _, key := range []string{"", "net 7 gro_flush_timeout", "net 8 gro_flush_timeout eth0", "net 7 gro_flush_timeout eth1", "net 7 ../x eth0", "irq 7 a eth0"} {
		if s.OpenAttribute(key, index) != nil {
			t.Errorf("something is found by the key %q", key)
		}
	}
	for _, gone := range []Setting{s.AttributeOf("eth0", 8, "gro_flush_timeout"), s.AttributeOf("eth9", 7, "gro_flush_timeout")} {
		if _, err := gone.Read(); !isGone(err) {
			t.Errorf("%s: %v", gone.Key(), err)
		}
		if err := gone.Write("1"); !isGone(err) {
			t.Errorf("%s: %v", gone.Key(), err)
		}
	}
	if _, err := s.AttributeOf("eth0", 7, "nothing").Read(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestShows(t *testing.T) {
	s := oneInterface(t)
	if err := s.Shows("eth0", 7, [6]byte{2, 0, 0, 0, 0, 1}); err != nil {
		t.Error(err)
	}
	for _, err := range []error{s.Shows("eth0", 7, [6]byte{2, 0, 0, 0, 0, 2}), s.Shows("eth0", 8, [6]byte{2, 0, 0, 0, 0, 1}), s.Shows("eth1", 7, [6]byte{2, 0, 0, 0, 0, 1})} {
		if err == nil || !strings.Contains(err.Error(), "another network namespace") {
			t.Error(err)
		}
	}
}
