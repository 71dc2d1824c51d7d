//go:build !linux

package lab

import (
	"context"
	"errors"
	"io"
)

var errLinux = errors.New("lab: network namespaces and AF_XDP are Linux's: run it there")

// Lab is one run of the demo; on this system it can only say that it cannot.
type Lab struct {
	Binary   string
	Options  Options
	Nginx    string
	Attach   string
	Requests int
	Out      io.Writer
	Colour   bool
}

// Up reports that the lab needs Linux.
func (l *Lab) Up(context.Context) error { return errLinux }

// Run reports that the lab needs Linux.
func (l *Lab) Run(context.Context) error { return errLinux }

// Down reports that the lab needs Linux.
func (l *Lab) Down() error { return errLinux }

// Serve reports that the lab needs Linux.
func Serve(context.Context, string, []uint16) error { return errLinux }

// Enter reports that the lab needs Linux.
func Enter(string, []string) error { return errLinux }
