//go:build !linux

package bench

import "errors"

var errUnknown = errors.New("not known on this system")

func resident() (int64, error) { return 0, errUnknown }

func available() (int64, error) { return 0, errUnknown }
