package tune

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoTable is returned for an interface whose driver has no RSS indirection table, or does not show it.
var ErrNoTable = errors.New("the driver has no RSS indirection table")

// Drivers asks the drivers of one network namespace: that of the thread that opened it.
type Drivers struct {
	System
	fd int
}

// OpenDrivers opens a socket to ask by.
func (s System) OpenDrivers() (*Drivers, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ask drivers (ethtool): %w", err)
	}
	return &Drivers{s, fd}, nil
}

// Close closes the socket.
func (d *Drivers) Close() error { return unix.Close(d.fd) }

// maxTable bounds what a driver may claim its table to be, in entries.
const maxTable = 1 << 16

// Table reads the indirection table of an interface: the queue that each remainder of a packet's hash goes to.
func (d *Drivers) Table(name string) ([]int, error) {
	words := []uint32{unix.ETHTOOL_GRXFHINDIR, 0}
	if err := ethtoolTable(d.fd, name, words); err != nil {
		return nil, tableError(name, err)
	}
	if words[1] == 0 || words[1] > maxTable {
		return nil, fmt.Errorf("interface %s: %w", name, ErrNoTable)
	}
	words = append([]uint32{unix.ETHTOOL_GRXFHINDIR, words[1]}, make([]uint32, words[1])...)
	if err := ethtoolTable(d.fd, name, words); err != nil {
		return nil, tableError(name, err)
	}
	table := make([]int, len(words)-2)
	for i, q := range words[2:] {
		table[i] = int(q)
	}
	return table, nil
}

// SetTable writes it. If the table is what the driver begins with, the driver is asked for that, so that it knows that
// nobody has chosen: only then does it follow when the number of queues is changed.
func (d *Drivers) SetTable(name string, table []int) error {
	if queues := slices.Max(table) + 1; slices.Equal(table, usual(len(table), queues)) {
		if err := ethtoolTable(d.fd, name, []uint32{unix.ETHTOOL_SRXFHINDIR, 0}); err == nil {
			if now, err := d.Table(name); err == nil && slices.Equal(now, table) {
				return nil
			}
		}
	}
	words := []uint32{unix.ETHTOOL_SRXFHINDIR, uint32(len(table))}
	for _, q := range table {
		words = append(words, uint32(q))
	}
	if err := ethtoolTable(d.fd, name, words); err != nil {
		return tableError(name, err)
	}
	return nil
}

// usual is the table that drivers begin with.
func usual(size, queues int) []int {
	t := make([]int, size)
	for i := range t {
		t[i] = i % queues
	}
	return t
}

func tableError(name string, err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		err = ErrNoTable
	case errors.Is(err, unix.ENODEV):
		err = errGone
	}
	return fmt.Errorf("interface %s: RSS table: %w", name, err)
}

// rssTable is the indirection table of an interface as a setting.
type rssTable struct {
	drivers *Drivers
	name    string
	index   int
}

// TableOf is an interface's indirection table as a setting; index is the kernel's number of it, which another interface
// of the same name does not have.
func (d *Drivers) TableOf(name string, index int) Setting { return rssTable{d, name, index} }

const rssKey = "rss"

func (r rssTable) Key() string { return fmt.Sprintf("%s %d %s", rssKey, r.index, r.name) }

func (r rssTable) Read() (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	t, err := r.drivers.Table(r.name)
	return TableText(t), err
}

func (r rssTable) Write(text string) error {
	if err := r.check(); err != nil {
		return err
	}
	t, err := ParseTable(text)
	if err != nil || len(t) == 0 {
		return errors.Join(fmt.Errorf("interface %s: an empty RSS table", r.name), err)
	}
	return r.drivers.SetTable(r.name, t)
}

// check tells whether the name is still this interface's.
func (r rssTable) check() error {
	request, err := unix.NewIfreq(r.name)
	if err == nil {
		err = unix.IoctlIfreq(r.drivers.fd, unix.SIOCGIFINDEX, request)
	}
	if errors.Is(err, unix.ENODEV) || err == nil && int(request.Uint32()) != r.index {
		err = errGone
	}
	if err != nil {
		return fmt.Errorf("interface %s: RSS table: %w", r.name, err)
	}
	return nil
}

// Open makes a setting of its key; nil: there is no such thing any more. index finds an interface.
func (d *Drivers) Open(key string, index func(name string) (int, bool)) Setting {
	kind, rest, _ := strings.Cut(key, " ")
	number, name, _ := strings.Cut(rest, " ")
	switch kind {
	case irqKey:
		return d.openAffinity(number, name)
	case rssKey:
		if i, ok := index(name); ok && strconv.Itoa(i) == number {
			return d.TableOf(name, i)
		}
	}
	return nil
}
