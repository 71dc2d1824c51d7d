package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 keeps its named namespaces, each a file with a namespace mounted over it.
const netnsDir = "/run/netns"

// CreateNamespace makes a network namespace that `ip netns` shows under the given name. The caller's thread is unharmed.
func CreateNamespace(name string) error {
	if err := shareNetnsDir(); err != nil {
		return err
	}
	return onOwnThread(func() error {
		h, err := netns.NewNamed(name)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("network namespace %s exists already: `fastlb lab down` removes what is left of a lab: %w", name, err)
		}
		if err != nil {
			return fmt.Errorf("create network namespace %s: %w", name, err)
		}
		return h.Close()
	})
}

// shareNetnsDir does what `ip netns add` does first: makes the directory a shared mount, so that mounts and removals
// reach processes in other mount namespaces (ip netns exec makes one for each).
func shareNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	err := unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err = unix.Mount(netnsDir, netnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", netnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("share %s: %w (creating network namespaces needs root)", netnsDir, err)
	}
	return nil
}

// RemoveNamespace ends the processes in a namespace and takes it away. A missing one is no error.
func RemoveNamespace(name string) error {
	return errors.Join(endProcessesIn(name), deleteNamespace(name))
}

// deleteNamespace takes a name away; the namespace itself goes with its last process. A missing one is no error.
func deleteNamespace(name string) error {
	path := filepath.Join(netnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return nil
}

// namespaceExists says whether a namespace of that name is there.
func namespaceExists(name string) bool {
	_, err := os.Lstat(filepath.Join(netnsDir, name))
	return err == nil
}

// In calls f on a thread that is in the named network namespace: sockets that f opens and processes that f starts belong
// there. Goroutines that f starts do not.
func In(namespace string, f func() error) error {
	return onOwnThread(func() error {
		h, err := netns.GetFromName(namespace)
		if err != nil {
			return fmt.Errorf("network namespace %s: %w (is the lab up?)", namespace, err)
		}
		defer h.Close()
		if err := netns.Set(h); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", namespace, err)
		}
		return f()
	})
}

// onOwnThread runs f, which may leave its thread in another namespace, and brings the thread home; a thread that cannot
// be brought home is given up.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("find this thread's network namespace: %w", err)
			return
		}
		defer home.Close()
		err = f()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread() // else the thread ends with this goroutine
		}
		done <- err
	}()
	return <-done
}
