package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/fastlb/fastlb/conformance/wire"
)

// Machine is the computer in which the kernel's IPVS plays cases.
type Machine struct {
	Image string // folder that the script image made
	Guest string // the guest's program, a static binary
	QEMU  string // the emulator's command
}

// Version is the kernel's.
func (m *Machine) Version() string {
	b, _ := os.ReadFile(filepath.Join(m.Image, "version"))
	return string(bytes.TrimSpace(b))
}

// Play boots the machine once, has it play the cases, and calls got for each result as it comes. It is an error if
// results are missing; the message ends with what the guest's kernel said last.
func (m *Machine) Play(ctx context.Context, cases []wire.Case, got func(*wire.Result)) (err error) {
	dir, err := os.MkdirTemp("", "fastlb-conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	initrd, console := filepath.Join(dir, "initrd"), filepath.Join(dir, "console")
	if err := m.pack(initrd, cases); err != nil {
		return fmt.Errorf("initial file system: %w", err)
	}
	cmd := exec.CommandContext(ctx, m.QEMU, "-accel", "tcg", "-cpu", "max,la57=off", "-M", "q35", "-smp", "1", "-m", "768",
		"-icount", "shift=2,sleep=off", // time is instructions; idle time is skipped
		"-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot", "-nic", "none",
		"-kernel", filepath.Join(m.Image, "vmlinuz"), "-initrd", initrd,
		"-append", "console=ttyS0 quiet loglevel=1 mitigations=off nokaslr panic=-1 random.trust_cpu=on net.ifnames=0 audit=0 selinux=0 apparmor=0 nowatchdog",
		"-chardev", "file,id=console,path="+console, "-serial", "chardev:console",
		"-device", "virtio-serial-pci", "-chardev", "file,id=port,path=/dev/fd/3", "-device", "virtserialport,chardev=port,name=results",
		"-device", "virtio-rng-pci")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	port, far, err := os.Pipe()
	if err != nil {
		return err
	}
	defer port.Close()
	cmd.ExtraFiles = []*os.File{far} // descriptor 3
	err = cmd.Start()
	far.Close()
	if err != nil {
		return err
	}
	n := 0
	for d := json.NewDecoder(port); err == nil; {
		var r wire.Result
		if err = d.Decode(&r); err == nil {
			n++
			got(&r)
		}
	}
	if end := cmd.Wait(); end != nil || !errors.Is(err, io.EOF) || n != len(cases) {
		return fmt.Errorf("the guest played %d of %d cases: %w\n%s%s", n, len(cases), errors.Join(err, end), stderr.Bytes(), tail(console))
	}
	return nil
}

// tail is the end of a file.
func tail(name string) []byte {
	b, _ := os.ReadFile(name)
	return b[max(0, len(b)-4000):]
}

// pack writes the machine's initial file system: the image's, with the guest and its cases behind it.
func (m *Machine) pack(name string, cases []wire.Case) error {
	base, err := os.ReadFile(filepath.Join(m.Image, "base.cpio"))
	if err != nil {
		return err
	}
	guest, err := os.ReadFile(m.Guest)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	e := json.NewEncoder(&lines)
	for i := range cases {
		if err := e.Encode(&cases[i]); err != nil {
			return err
		}
	}
	b := bytes.NewBuffer(base)
	cpio(b, "init", 0o100755, guest)
	cpio(b, "cases.json", 0o100644, lines.Bytes())
	cpio(b, "TRAILER!!!", 0, nil)
	return os.WriteFile(name, b.Bytes(), 0o600)
}

// cpio adds a file to an archive in the form "newc", in which archives may follow each other.
func cpio(b *bytes.Buffer, name string, mode uint32, data []byte) {
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	pad()
	fmt.Fprintf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	pad()
	b.Write(data)
	pad()
}
