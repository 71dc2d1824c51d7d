package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/conformance/wire"
)

func main() {
	err := play()
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
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// play is the machine's whole life.
func play() error {
	runtime.LockOSThread() // the thread enters the cases' namespaces
	if err := prepare(); err != nil {
		return err
	}
	out, err := console()
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := os.Open("/cases.json")
	if err != nil {
		return err
	}
	defer in.Close()
	results := json.NewEncoder(out)
	for d := json.NewDecoder(bufio.NewReader(in)); ; {
		var c wire.Case
		if err := d.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r := playCase(&c)
		if err := results.Encode(r); err != nil {
			return err
		}
	}
}

// prepare makes a system of what the kernel started.
func prepare() error {
	for _, m := range []struct{ what, where string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m.what, m.where, m.what, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	os.Setenv("PATH", "/usr/sbin")
	os.Setenv("LD_LIBRARY_PATH", "/usr/lib")
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	slices.Sort(modules)
	for _, name := range modules {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o644)
}

// console opens the port that the host reads, once it is there.
func console() (*os.File, error) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if l, _ := filepath.Glob("/dev/vport*p*"); len(l) > 0 {
			return os.OpenFile(l[0], os.O_WRONLY, 0)
		}
	}
	return nil, errors.New("there is no virtio console port")
}
