//go:build !linux

package bench

import "errors"

var errUnknown = errors.New("not known on this system")

func resident() (int64, error) { return 0, errUnknown }

func hugeShare() float64 { return 0 }

func available() (int64, error) { return 0, errUnknown }
