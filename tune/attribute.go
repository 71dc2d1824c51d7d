package tune

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// attribute is a setting of an interface that is a file below /sys/class/net.
type attribute struct {
	sys   System
	name  string
	index int
	file  string
}

const attributeKey = "net"

// AttributeOf is a file of an interface below /sys/class/net as a setting; index is the kernel's number of the interface,
// which another one of the same name does not have. Shows is to be asked before.
func (s System) AttributeOf(name string, index int, file string) Setting {
	return attribute{s, name, index, file}
}

// OpenAttribute makes a setting of a key of AttributeOf; nil: it is none, or the interface is no more. index finds an
// interface.
func (s System) OpenAttribute(key string, index func(name string) (int, bool)) Setting {
	f := strings.SplitN(key, " ", 4)
	if len(f) != 4 || f[0] != attributeKey || f[2] != filepath.Base(f[2]) {
		return nil
	}
	if i, ok := index(f[3]); ok && strconv.Itoa(i) == f[1] {
		return s.AttributeOf(f[3], i, f[2])
	}
	return nil
}

func (a attribute) Key() string {
	return fmt.Sprintf("%s %d %s %s", attributeKey, a.index, a.file, a.name)
}

func (a attribute) path(file string) string {
	return filepath.Join(a.sys.Sys, "class/net", a.name, file)
}

func (a attribute) Read() (string, error) {
	if err := a.check(); err != nil {
		return "", err
	}
	b, err := os.ReadFile(a.path(a.file))
	if err != nil {
		return "", fmt.Errorf("interface %s: %w", a.name, err)
	}
	return string(bytes.TrimSpace(b)), nil
}

func (a attribute) Write(value string) error {
	if err := a.check(); err != nil {
		return err
	}
	f, err := os.OpenFile(a.path(a.file), os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", a.name, err)
	}
	return nil
}

// check tells whether the files are still this interface's.
func (a attribute) check() error {
	b, err := os.ReadFile(a.path("ifindex"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(bytes.TrimSpace(b)) != strconv.Itoa(a.index) {
		err = errGone
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", a.name, err)
	}
	return nil
}

// Shows tells whether Sys shows an interface: /sys belongs to the network namespace that it was mounted in, and there the
// name may be another interface's.
func (s System) Shows(name string, index int, mac [6]byte) error {
	a := attribute{sys: s, name: name, index: index}
	err := a.check()
	if err == nil {
		var b []byte
		b, err = os.ReadFile(a.path("address"))
		if there, _ := net.ParseMAC(string(bytes.TrimSpace(b))); err == nil && !bytes.Equal(there, mac[:]) {
			err = errGone
		}
	}
	if isGone(err) {
		return fmt.Errorf("interface %s: %s shows another network namespace (`ip netns exec` mounts the right one)", name, s.Sys)
	}
	return err
}
