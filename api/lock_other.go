//go:build !linux

package api

import "os"

// lockFile opens the file; other systems run no director that it would keep out.
func lockFile(path string) (*os.File, error) { return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) }
