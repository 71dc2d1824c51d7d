package replay

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(path("old"), []byte("old"), 0o600))
	must(os.WriteFile(path("target"), []byte("old"), 0o644))
	must(os.Symlink("target", path("link")))
	must(os.Symlink("/dev/null", path("null")))
	write := func(o *outputs, name string) {
		t.Helper()
		f, err := o.create(name, "--write")
		must(err)
		_, err = io.WriteString(f, "new")
		must(err)
	}
	names := []string{path("old"), path("fresh"), path("link"), path("null")}

	var o outputs
	for _, n := range names {
		write(&o, n)
	}
	must(o.discard())
	if b, _ := os.ReadFile(path("old")); string(b) != "old" {
		t.Errorf("discarded, and old is %q", b)
	}
	if all, _ := os.ReadDir(dir); len(all) != 4 {
		t.Errorf("discarded, and there are %v", all)
	}

	for _, n := range names {
		write(&o, n)
	}
	must(o.commit())
	must(o.discard())
	for name, mode := range map[string]os.FileMode{"old": 0o600, "fresh": 0o644, "target": 0o644, "link": os.ModeSymlink, "null": os.ModeSymlink} {
		info, err := os.Lstat(path(name))
		must(err)
		if mode == os.ModeSymlink {
			if info.Mode()&os.ModeSymlink == 0 {
				t.Errorf("%s is no link any more", name)
			}
			continue
		}
		if b, _ := os.ReadFile(path(name)); string(b) != "new" || info.Mode().Perm() != mode {
			t.Errorf("%s: %q, %v", name, b, info.Mode())
		}
	}
	if all, _ := os.ReadDir(dir); len(all) != 5 {
		t.Errorf("committed, and there are %v", all)
	}
}

// TestSpecial: what is reached through /dev and /proc is written in place. The names are only looked at: a mistake here
// would replace a device.
func TestSpecial(t *testing.T) {
	for name, want := range map[string]bool{"/dev/stdout": true, "/dev/fd/3": true, "/proc/self/fd/1": true, "/tmp/../dev/null": true, "dev/x": false, "/device": false} {
		if special(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
