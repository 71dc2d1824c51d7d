package director

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/tune"
)

// Offloads that make of several packets one, or of a tag nothing, before the program sees them; by the kernel's names.
const (
	offloadLRO   = "rx-lro"
	offloadGROHW = "rx-gro-hw"
	offloadGRO   = "rx-gro"             // matters in generic mode, where the program comes after it
	offloadVLAN  = "rx-vlan-hw-parse"   // matters where VLANs are
	noOffloads   = "offload settings: " // prefix of warnings
)

// offloads are the ones that are to be off on an interface while the director runs.
type offloads struct {
	found map[string]string // how each was found, "on" or "off"
	kept  bool              // the keeper puts them back
}

// offloadOrder is the order to switch them off in; they are put back in the other one: the hardware's GRO needs GRO.
var offloadOrder = []string{offloadGROHW, offloadLRO, offloadVLAN, offloadGRO}

// setOffloads switches off what would harm, and puts it back when the director stops.
func (d *Director) setOffloads(n *attached, generic bool) error {
	have, err := d.tool.Features(n.name)
	if err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		d.log.Warn(noOffloads+"cannot be read", zap.String("interface", n.name), zap.Error(err))
		return nil
	}
	off, back := map[string]bool{}, map[string]bool{}
	for name, harms := range map[string]bool{offloadLRO: true, offloadGROHW: true, offloadGRO: generic, offloadVLAN: d.hasVLAN(n.index)} {
		on, known := have[name]
		if harms && on {
			off[name], back[name] = false, true
		}
		if _, again := n.offloads.found[name]; harms && known && !again {
			if n.offloads.found == nil {
				n.offloads.found = map[string]string{}
			}
			n.offloads.found[name] = onOff(on)
		}
	}
	if len(off) == 0 {
		return nil
	}
	if err := d.tool.Change(n.name, off); err != nil {
		d.log.Warn(noOffloads+"cannot be switched off; packets may be lost", zap.String("interface", n.name), zap.Any("settings", off), zap.Error(err))
		for name := range off {
			delete(n.offloads.found, name)
		}
		return nil
	}
	d.log.Info(noOffloads+"switched off while the director runs", zap.String("interface", n.name), zap.Any("settings", off))
	d.later(func() error {
		if n.offloads.kept {
			return nil
		}
		if err := d.tool.Change(n.name, back); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("interface %s: put offload settings back: %w", n.name, err)
		}
		return nil
	})
	return nil
}

// keepOffloads has the keeper put back what setOffloads switched off: it knows what a director that was killed had found.
// They are switched off before, since drivers refuse the program else.
func (d *Director) keepOffloads() {
	var list []tune.Change
	for _, n := range d.nics {
		for _, feature := range offloadOrder {
			if found, ok := n.offloads.found[feature]; ok {
				list = append(list, tune.Change{Setting: offload{d, n.name, n.index, feature}, Value: onOff(false), Found: found})
			}
		}
	}
	failed, err := d.keeper.Change(list)
	if err = errors.Join(err, errors.Join(failed...)); err != nil {
		d.log.Warn(noOffloads+"a crash would leave them off", zap.Error(err))
		return
	}
	for _, n := range d.nics {
		n.offloads.kept = true
	}
}

// offload is an offload of an interface as a setting.
type offload struct {
	d       *Director
	name    string
	index   int
	feature string
}

const offloadKey = "offload"

func (o offload) Key() string {
	return fmt.Sprintf("%s %d %s %s", offloadKey, o.index, o.feature, o.name)
}

// openOffload makes a setting of its key; nil: it is none, or the interface is no more.
func (d *Director) openOffload(key string) tune.Setting {
	f := strings.SplitN(key, " ", 4)
	if len(f) != 4 || f[0] != offloadKey {
		return nil
	}
	if i, ok := d.indexOf(f[3]); ok && strconv.Itoa(i) == f[1] {
		return offload{d, f[3], i, f[2]}
	}
	return nil
}

func (o offload) Read() (string, error) {
	if i, ok := o.d.indexOf(o.name); !ok || i != o.index {
		return "", fmt.Errorf("interface %s: %w", o.name, fs.ErrNotExist)
	}
	have, err := o.d.tool.Features(o.name)
	if errors.Is(err, unix.ENODEV) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return "", fmt.Errorf("interface %s: %s: %w", o.name, o.feature, err)
	}
	return onOff(have[o.feature]), nil
}

func (o offload) Write(value string) error {
	if err := o.d.tool.Change(o.name, map[string]bool{o.feature: value == onOff(true)}); err != nil {
		return fmt.Errorf("interface %s: %s %s: %w", o.name, o.feature, value, err)
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
