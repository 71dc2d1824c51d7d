package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Main is a guest program's main: it runs f, says on the console what came of it, and switches the machine off.
func Main(f func() error) {
	err := f()
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	if os.Getpid() != 1 {
		if err != nil {
			os.Exit(1)
		}
		return
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// Prepare mounts what every system has and loads the image's modules of the sets base and the given ones.
func Prepare(sets ...string) error {
	for _, m := range []struct{ what, where string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m.what, m.where, m.what, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	os.Setenv("PATH", "/usr/sbin")
	os.Setenv("LD_LIBRARY_PATH", "/usr/lib")
	for _, set := range append([]string{"base"}, sets...) {
		modules, err := filepath.Glob("/modules/" + set + "/*.ko")
		if err != nil {
			return err
		}
		slices.Sort(modules)
		for _, name := range modules {
			if err := load(name); err != nil {
				return fmt.Errorf("load %s: %w", name, err)
			}
		}
	}
	return nil
}

func load(module string) error {
	f, err := os.Open(module)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// Port opens the host's end of the line, once it is there.
func Port() (*os.File, error) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if l, _ := filepath.Glob("/dev/vport*p*"); len(l) > 0 {
			return os.OpenFile(l[0], os.O_RDWR, 0)
		}
	}
	return nil, errors.New("there is no virtio console port")
}
