package vm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// entries reads an archive in the form "newc" and returns what regular files hold, and the name of the last entry.
func entries(t *testing.T, b []byte) (files map[string]string, last string) {
	t.Helper()
	files = map[string]string{}
	align := func(n int) int { return (n + 3) &^ 3 }
	for at := 0; at < len(b); {
		h := b[at:]
		if len(h) < 110 || string(h[:6]) != "070701" {
			t.Fatalf("no header at %d", at)
		}
		number := func(field int) (n int) {
			if _, err := fmt.Sscanf(string(h[6+8*field:][:8]), "%08x", &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		size, length := number(6), number(11)
		last = string(h[110 : 110+length-1])
		begin := align(110 + length)
		if number(1)&0o170000 == 0o100000 {
			files[last] = string(h[begin : begin+size])
		}
		at += align(begin + size)
	}
	return files, last
}

func TestPack(t *testing.T) {
	dir := t.TempDir()
	var base bytes.Buffer
	File{Name: "etc/base", Mode: 0o100644, Data: []byte("12345")}.pack(&base)
	if err := os.WriteFile(filepath.Join(dir, "base"), base.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "initrd")
	if err := pack(out, filepath.Join(dir, "base"), []File{{"init", 0o100755, []byte("program")}, {"empty", 0o100644, nil}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	files, last := entries(t, b)
	if last != "TRAILER!!!" {
		t.Errorf("the archive ends with %q", last)
	}
	if len(files) != 3 || files["etc/base"] != "12345" || files["init"] != "program" || files["empty"] != "" {
		t.Errorf("the archive holds %q", files)
	}
}

func TestPackSaysWhatMakesTheImage(t *testing.T) {
	if err := pack(filepath.Join(t.TempDir(), "initrd"), "nowhere", nil); err == nil || !bytes.Contains([]byte(err.Error()), []byte("internal/vm/image")) {
		t.Errorf("without an image: %v", err)
	}
}
