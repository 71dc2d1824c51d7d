package replay

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// outputs are the files of one run. They are written beside their targets under other names and take their places all
// together at the end, so that a run that fails leaves nothing behind and overwrites nothing.
type outputs struct{ files []*output }

// output is one file being written.
type output struct {
	*bufio.Writer
	target string
	file   *os.File
	direct bool // the target is a pipe or device: written as it is
}

// create begins a file that is to be called target. what is for messages: the flag that asked for it. A pipe or device,
// and whatever is reached through /dev or /proc (standard output), is written as it is; of a link the file it leads to
// is replaced, not the link.
func (o *outputs) create(target, what string) (*output, error) {
	f := &output{target: target}
	info, err := os.Lstat(target)
	if err == nil && info.Mode()&os.ModeSymlink != 0 && !special(target) {
		if f.target, err = filepath.EvalSymlinks(target); err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		info, err = os.Lstat(f.target)
	}
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s %s: is a directory; name a file", what, target)
	case err == nil && (!info.Mode().IsRegular() || special(f.target)):
		f.direct = true
		f.file, err = os.OpenFile(f.target, os.O_WRONLY|os.O_APPEND, 0)
	default:
		f.file, err = os.CreateTemp(filepath.Dir(f.target), "."+filepath.Base(f.target)+".*")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	f.Writer = bufio.NewWriterSize(f.file, 1<<16)
	o.files = append(o.files, f)
	return f, nil
}

// special tells whether a name belongs to the system: nothing is ever put in its place.
func special(name string) bool {
	abs, err := filepath.Abs(name)
	return err != nil || strings.HasPrefix(abs, "/dev/") || strings.HasPrefix(abs, "/proc/")
}

// commit completes all files and moves them to their places.
func (o *outputs) commit() error {
	for _, f := range o.files {
		if err := f.finish(); err != nil {
			return err
		}
	}
	for _, f := range o.files {
		if f.direct {
			continue
		}
		if err := os.Rename(f.file.Name(), f.target); err != nil {
			return err
		}
		f.direct = true // nothing left to remove
	}
	o.files = nil
	return nil
}

func (f *output) finish() error {
	if err := f.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", f.target, err)
	}
	if !f.direct {
		mode := os.FileMode(0o644)
		if info, err := os.Stat(f.target); err == nil {
			mode = info.Mode().Perm()
		}
		if err := f.file.Chmod(mode); err != nil {
			return fmt.Errorf("write %s: %w", f.target, err)
		}
	}
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("write %s: %w", f.target, err)
	}
	return nil
}

// discard removes what was not committed. It may follow commit, then it does nothing.
func (o *outputs) discard() error {
	var errs []error
	for _, f := range o.files {
		f.file.Close() // twice after a failed commit: that error says nothing new
		if !f.direct {
			if err := os.Remove(f.file.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	o.files = nil
	return errors.Join(errs...)
}
