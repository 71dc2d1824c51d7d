package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

// ErrInUse says that a running director answers on the socket already.
var ErrInUse = errors.New("a director is running there already: stop it, or give this one another socket (--socket)")

// Listen makes the socket at path, owned by root and the group and open to both (0660). What an earlier director left
// is replaced; a running one is an error (ErrInUse). A group that does not exist makes it root's alone; the warning says
// so.
func Listen(path, group string) (l net.Listener, warning string, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, "", fmt.Errorf("socket %s: %w", path, err)
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, "", fmt.Errorf("socket %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, "", fmt.Errorf("socket %s: %w", path, ErrInUse)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, "", fmt.Errorf("socket %s: there is something else of this name: remove it, or name another socket (--socket)", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("socket %s: remove what is left of an earlier one: %w", path, err)
	}
	u, err := net.Listen("unix", path)
	if err != nil {
		return nil, "", fmt.Errorf("socket %s: %w", path, err)
	}
	gid := 0
	if group != "" {
		if g, err := user.LookupGroup(group); err != nil {
			warning = fmt.Sprintf("api.group: there is no group %q; the socket %s is root's alone", group, path)
		} else if gid, err = strconv.Atoi(g.Gid); err != nil {
			warning = fmt.Sprintf("api.group: group %q has no number; the socket %s is root's alone", group, path)
		}
	}
	if os.Geteuid() == 0 {
		err = os.Chown(path, 0, gid)
	}
	if err = errors.Join(err, os.Chmod(path, 0o660)); err != nil {
		u.Close()
		return nil, "", fmt.Errorf("socket %s: %w", path, err)
	}
	return &listener{u, lock}, warning, nil
}

// listener holds the lock as long as it listens.
type listener struct {
	net.Listener
	lock *os.File
}

func (l *listener) Close() error { return errors.Join(l.Listener.Close(), l.lock.Close()) }

// NewServer is the HTTP server for a listener of Listen.
func NewServer(d Director) *http.Server {
	return &http.Server{Handler: Handler(d), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
}
