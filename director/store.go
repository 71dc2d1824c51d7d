package director

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
)

// store keeps the table beside flows.state, so that what ipvsadm made outlives a crash, a restart and an upgrade. The
// file holds the whole table and the configuration that was in force; at the next start the table is made again, then the
// difference between that configuration and the present one is applied, as a reload would.
type store struct {
	path  string
	last  time.Duration // that the last write took
	ended time.Time     // when
	size  int           // of the table then, in operations
	timer *time.Timer   // runs while something is to be written or made durable
	dirty bool          // something is to be written
}

// durableAfter is how long after a change the file is on the disk. That a process dies loses nothing that was written; a
// machine that dies may lose what is younger.
const durableAfter = time.Second

// stored is the file.
type stored struct {
	Version int            `json:"version"`
	Config  *config.Config `json:"config"`
	Table   []control.Op   `json:"table"`
}

const storeVersion = 1

// openStore returns the store beside the state file; nil if there is no such file.
func openStore(state string) *store {
	if state == "" {
		return nil
	}
	s := &store{path: state + ".services", timer: time.NewTimer(time.Hour)}
	s.timer.Stop()
	return s
}

// due fires when something is to be written or made durable.
func (s *store) due() <-chan time.Time {
	if s == nil {
		return nil
	}
	return s.timer.C
}

// read returns what was stored; nil if there is nothing.
func (s *store) read() (*stored, error) {
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("stored services: %w", err)
	}
	var f stored
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("stored services: %s: %w", s.path, err)
	}
	if f.Version != storeVersion || f.Config == nil {
		return nil, fmt.Errorf("stored services: %s: version %d, this program has version %d", s.path, f.Version, storeVersion)
	}
	return &f, nil
}

// smallTable is up to how many operations a table is written at every change.
const smallTable = 500

// later tells whether the present change is to wait for the timer: of a large table writing shall not take more than a
// tenth of the time, however many the changes.
func (s *store) later() bool {
	s.dirty = true
	wait := time.Until(s.ended.Add(10 * s.last))
	if wait <= 0 || s.size <= smallTable {
		return false
	}
	s.timer.Reset(wait)
	return true
}

// write replaces the file: a reader, or a crash, meets the old one or the new one. It does not wait for the disk, so that
// a change can be written before ipvsadm hears that it is done and outlives the process however soon that ends.
func (s *store) write(cfg *config.Config, table []control.Op) error {
	start := time.Now()
	b, err := json.Marshal(stored{storeVersion, cfg, table})
	if err != nil {
		return fmt.Errorf("store services: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".*")
	if err != nil {
		return fmt.Errorf("store services: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error that is returned came first
		return fmt.Errorf("store services: %w", err)
	}
	s.dirty = false
	s.ended = time.Now()
	s.last, s.size = s.ended.Sub(start), len(table)
	s.timer.Reset(durableAfter)
	return nil
}

// sync makes durable what was written.
func (s *store) sync() error {
	f, err := os.Open(s.path)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("store services: %w", err)
	}
	return nil
}
