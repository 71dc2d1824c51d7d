package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Config of a machine.
type Config struct {
	Image  string // folder that the script image made
	Files  []File // added to the image's; one of them is "init", the program that runs as process 1
	CPUs   int    // 0: 1
	Memory int    // MiB; 0: 768
	// Args are further arguments of QEMU: devices, the clock.
	Args []string
	// Launch starts the emulator's process, in a network namespace for example; nil: (*exec.Cmd).Start.
	Launch func(*exec.Cmd) error
}

// File is one of a machine's initial file system.
type File struct {
	Name string // without a slash in front
	Mode uint32 // with the type: 0o100755 is a regular file that can be run
	Data []byte
}

// Machine is a running one. Wait must be called, whatever happens.
type Machine struct {
	Port net.Conn // the guest's first virtio console port; it ends with the machine

	cmd    *exec.Cmd
	dir    string
	stderr bytes.Buffer
	ended  chan struct{} // closed when the emulator has ended
	err    error         // how, after ended
}

// emulator is the command.
const emulator = "qemu-system-x86_64"

// connectPatience is how long the emulator may take to begin.
const connectPatience = 30 * time.Second

// Version is the kernel's in an image.
func Version(image string) string {
	b, _ := os.ReadFile(filepath.Join(image, "version"))
	return string(bytes.TrimSpace(b))
}

// Start boots a machine; it ends when its process 1 switches it off, or with ctx.
func Start(ctx context.Context, cfg Config) (_ *Machine, err error) {
	dir, err := os.MkdirTemp("", "fastlb-vm-")
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: dir, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := pack(m.path("initrd"), filepath.Join(cfg.Image, "base.cpio"), cfg.Files); err != nil {
		return nil, fmt.Errorf("initial file system: %w", err)
	}
	listener, err := net.Listen("unix", m.path("port"))
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	// One thread for all CPUs: with one each, a CPU may see code that another one is just patching, and the kernel panics.
	m.cmd = exec.CommandContext(ctx, emulator, "-accel", "tcg,thread=single", "-cpu", "max,la57=off", "-M", "q35",
		"-smp", strconv.Itoa(max(cfg.CPUs, 1)), "-m", strconv.Itoa(defaultTo(cfg.Memory, 768)),
		"-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(cfg.Image, "vmlinuz"), "-initrd", m.path("initrd"),
		"-append", "console=ttyS0 quiet loglevel=1 mitigations=off nokaslr panic=-1 random.trust_cpu=on net.ifnames=0 audit=0 selinux=0 apparmor=0 nowatchdog",
		"-chardev", "file,id=console,path="+m.path("console"), "-serial", "chardev:console",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=port,server=off,path="+m.path("port"), "-device", "virtserialport,chardev=port,name=host",
		"-device", "virtio-rng-pci")
	m.cmd.Args = append(m.cmd.Args, cfg.Args...)
	m.cmd.Stderr = &m.stderr
	launch := cfg.Launch
	if launch == nil {
		launch = (*exec.Cmd).Start
	}
	if err := launch(m.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", emulator, err)
	}
	go func() {
		m.err = m.cmd.Wait()
		listener.Close() // nobody will come any more
		close(m.ended)
	}()
	if err := listener.(*net.UnixListener).SetDeadline(time.Now().Add(connectPatience)); err != nil {
		return nil, err
	}
	if m.Port, err = listener.Accept(); err != nil {
		_ = m.cmd.Process.Kill()
		<-m.ended
		return nil, fmt.Errorf("%s did not begin: %w: %s", emulator, errors.Join(err, m.err), m.stderr.Bytes())
	}
	return m, nil
}

func (m *Machine) path(name string) string { return filepath.Join(m.dir, name) }

func defaultTo(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// Kill ends the machine as pulling its plug does; Wait then reports that.
func (m *Machine) Kill() { _ = m.cmd.Process.Kill() }

// Console is the end of what the guest's kernel and its process 1 printed.
func (m *Machine) Console() string {
	b, _ := os.ReadFile(m.path("console"))
	return string(b[max(0, len(b)-4000):])
}

// Wait waits for the machine's end and removes its files. An error has the end of the console in it.
func (m *Machine) Wait() error {
	<-m.ended
	err := m.err
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", emulator, err, m.stderr.Bytes(), m.Console())
	}
	return errors.Join(err, m.Port.Close(), os.RemoveAll(m.dir))
}
