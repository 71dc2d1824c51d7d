//go:build !linux

package flow

import (
	"errors"
	"os"
)

// Memory is a mapped state; it exists on Linux alone.
type Memory struct{}

var errNotLinux = errors.New("mapping the state needs Linux")

// Map fails here.
func Map(MapOptions) (*Memory, error) { return nil, errNotLinux }

// Adopt fails here.
func Adopt(*os.File, MapOptions) (*Memory, error) { return nil, errNotLinux }

// Region is nil here.
func (m *Memory) Region(string) []byte { return nil }

// Fresh is false here.
func (m *Memory) Fresh() bool { return false }

// File is nil here.
func (m *Memory) File() *os.File { return nil }

// Size is 0 here.
func (m *Memory) Size() int64 { return 0 }

// Pages is empty here.
func (m *Memory) Pages() string { return "" }

// Close does nothing here.
func (m *Memory) Close() error { return nil }
