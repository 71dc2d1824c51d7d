package vm

import (
	"bytes"
	"fmt"
	"os"
)

// pack writes an initial file system: the archive base with files behind it.
func pack(name, base string, files []File) error {
	archive, err := os.ReadFile(base)
	if err != nil {
		return fmt.Errorf("%w (the script internal/vm/image makes it)", err)
	}
	b := bytes.NewBuffer(archive)
	for _, f := range files {
		f.pack(b)
	}
	File{Name: "TRAILER!!!"}.pack(b)
	return os.WriteFile(name, b.Bytes(), 0o600)
}

// pack adds the file to an archive in the form "newc", in which archives may follow each other.
func (f File) pack(b *bytes.Buffer) {
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	pad()
	fmt.Fprintf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		0, f.Mode, 0, 0, 1, 0, len(f.Data), 0, 0, 0, 0, len(f.Name)+1, 0, f.Name)
	pad()
	b.Write(f.Data)
	pad()
}
