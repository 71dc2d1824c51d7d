package tune

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Setting is something of the machine that has a value as text.
type Setting interface {
	// Key names it for good: two settings of one key are the same thing. It says everything that OpenSetting needs.
	Key() string
	Read() (string, error)
	Write(value string) error
}

// Change is a wish for a setting.
type Change struct {
	Setting Setting
	Value   string
	Found   string // what is to be put back, where that was read earlier; "": what is there now
}

// Keeper changes settings and puts them back. What they were is in a file before anything is changed, so that whoever
// comes after a process that was killed finds it there, and takes what that process set neither for the machine's own
// nor for somebody's wish.
type Keeper struct {
	path  string
	id    identity
	old   []entry // of a process that is gone, not taken over yet
	mine  []entry // in the order of changes
	files map[string]Setting
}

// identity tells a living process from others, and this boot of the machine from earlier ones.
type identity struct {
	Boot  string `json:"boot"`
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // of the process, in ticks since the boot
}

// entry is a setting that was changed.
type entry struct {
	Key   string `json:"key"`
	Found string `json:"found"`
	Set   string `json:"set"`
}

// kept is the file.
type kept struct {
	Version  int      `json:"version"`
	Process  identity `json:"process"`
	Settings []entry  `json:"settings"`
}

const keptVersion = 1

// ErrKept is returned where another process that runs has the file.
var ErrKept = errors.New("is kept by another process")

// OpenKeeper reads what an earlier process left in the file, if there is one.
func (s System) OpenKeeper(path string) (*Keeper, error) {
	k := &Keeper{path: path, files: map[string]Setting{}}
	var err error
	if k.id, err = s.identify(os.Getpid()); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("settings to put back: %w", err)
	}
	if len(b) == 0 { // the machine lost its power before the file was on the disk, and with that the settings
		return k, nil
	}
	var file kept
	if err := json.Unmarshal(b, &file); err != nil || file.Version != keptVersion {
		return nil, fmt.Errorf("settings to put back: %s is not understood: remove it if no director runs: %v", path, err)
	}
	if file.Process.Boot != k.id.Boot { // the machine has forgotten all of it
		return k, nil
	}
	if now, err := s.identify(file.Process.PID); err == nil && now == file.Process && now != k.id {
		return nil, fmt.Errorf("settings to put back: %s %w, %d", path, ErrKept, now.PID)
	}
	k.old = file.Settings
	return k, nil
}

// Change brings settings to their values. What has its value already stays untouched. The result has an error, or nil,
// for each change; err means that none was made, for nothing could be written down.
func (k *Keeper) Change(list []Change) (failed []error, err error) {
	failed = make([]error, len(list))
	present := make([]*string, len(list)) // the values of those that are to be written
	before := slices.Clone(k.mine)
	old := slices.Clone(k.old)
	for i, c := range list {
		key := c.Setting.Key()
		now, err := c.Setting.Read()
		if err != nil {
			failed[i] = err
			continue
		}
		e := entry{Key: key, Found: cmp.Or(c.Found, now), Set: c.Value}
		if j := slices.IndexFunc(k.mine, func(e entry) bool { return e.Key == key }); j >= 0 {
			e.Found = k.mine[j].Found
			k.mine = slices.Delete(k.mine, j, j+1)
		}
		if j := slices.IndexFunc(k.old, func(e entry) bool { return e.Key == key }); j >= 0 {
			if k.old[j].Set == e.Found { // the dead process's doing
				e.Found = k.old[j].Found
			}
			k.old = slices.Delete(k.old, j, j+1)
		}
		if e.Found == e.Set && now == e.Set {
			continue
		}
		if now != e.Set {
			present[i] = &now
		}
		k.mine = append(k.mine, e)
		k.files[key] = c.Setting
	}
	if err := k.save(); err != nil {
		k.mine, k.old = before, old
		return nil, err
	}
	lost := false
	for i, c := range list {
		if present[i] == nil {
			continue
		}
		if failed[i] = c.Setting.Write(c.Value); failed[i] != nil {
			k.unchanged(c.Setting.Key(), *present[i])
			lost = true
		}
	}
	if lost {
		return failed, k.save()
	}
	return failed, nil
}

// Original is a setting's value as others made it: what it has, unless that is the doing of this process or of a dead one.
func (k *Keeper) Original(s Setting) (string, error) {
	now, err := s.Read()
	key := s.Key()
	for _, e := range append(slices.Clone(k.mine), k.old...) {
		if err == nil && e.Key == key && e.Set == now {
			return e.Found, nil
		}
	}
	return now, err
}

// unchanged notes that a setting could not be changed: it still has the value now, which may be one of ours from before.
func (k *Keeper) unchanged(key, now string) {
	i := slices.IndexFunc(k.mine, func(e entry) bool { return e.Key == key })
	if k.mine[i].Set = now; k.mine[i].Found == now {
		k.mine = slices.Delete(k.mine, i, i+1)
	}
}

// Leftovers puts back what a dead process had changed and this one has not taken over. open makes a setting of its key;
// nil: there is no such thing any more.
func (k *Keeper) Leftovers(open func(key string) Setting) (int, error) {
	var errs []error
	n := 0
	for _, e := range slices.Backward(k.old) {
		if s := open(e.Key); s != nil {
			done, err := putBack(s, e)
			errs = append(errs, err)
			if done {
				n++
			}
		}
	}
	k.old = nil
	return n, errors.Join(append(errs, k.save())...)
}

// Restore puts back, last first, what was changed; what somebody else has changed since stays as it is. What could not be
// put back stays written down, for the next process to try.
func (k *Keeper) Restore() error {
	var errs []error
	var left []entry
	for _, e := range slices.Backward(k.mine) {
		if _, err := putBack(k.files[e.Key], e); err != nil {
			errs = append(errs, err)
			left = slices.Insert(left, 0, e)
		}
	}
	k.mine = left
	return errors.Join(append(errs, k.save())...)
}

// isGone tells whether a thing is no more: an interrupt's directory, an interface.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errGone) }

var errGone = errors.New("there is no such thing any more")

// putBack writes a setting's old value if it still has the one that we gave it. A thing that is gone is no error.
func putBack(s Setting, e entry) (bool, error) {
	now, err := s.Read()
	if err == nil && now != e.Set {
		return false, nil
	}
	if err == nil {
		err = s.Write(e.Found)
	}
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put back %s = %s: %w", e.Key, e.Found, err)
	}
	return true, nil
}

// save replaces the file: whoever reads it meets the old one or the new one. Without settings there is none.
func (k *Keeper) save() error {
	all := append(slices.Clone(k.old), k.mine...)
	if len(all) == 0 {
		if err := os.Remove(k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("settings to put back: %w", err)
		}
		return nil
	}
	b, err := json.Marshal(kept{keptVersion, k.id, all})
	if err != nil {
		return fmt.Errorf("settings to put back: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(k.path), 0o755); err != nil {
		return fmt.Errorf("settings to put back: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(k.path), filepath.Base(k.path)+".*")
	if err != nil {
		return fmt.Errorf("settings to put back: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close()) // on a disk a renamed file may else be empty after a loss of power
	if err == nil {
		err = os.Rename(f.Name(), k.path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error that is returned came first
		return fmt.Errorf("settings to put back: %w", err)
	}
	return nil
}
