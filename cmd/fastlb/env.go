package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// defaultSocket is where the director listens (contract: standing names).
const defaultSocket = "/run/fastlb/fastlb.sock"

// env is what every subcommand gets: the outside world and the flags common to all.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	socket string // --socket, else FASTLB_SOCKET, else defaultSocket
	output output // --output
}

// addFlags gives the root the flags that all subcommands share.
func (e *env) addFlags(root *cobra.Command) {
	e.socket = e.socketDefault()
	e.output = textOutput
	f := root.PersistentFlags()
	f.StringVar(&e.socket, "socket", e.socket, "the director's `PATH`, also $FASTLB_SOCKET")
	f.Var(&e.output, "output", "`FORMAT` of what is listed: text or json")
}

// socketDefault is the socket where no flag names one.
func (e *env) socketDefault() string {
	if s := e.getenv("FASTLB_SOCKET"); s != "" {
		return s
	}
	return defaultSocket
}

// print writes v as JSON, or calls text, as --output asks.
func (e *env) print(v any, text func(io.Writer)) error {
	if e.output != jsonOutput {
		text(e.stdout)
		return nil
	}
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// output is the value of --output.
type output string

const (
	textOutput output = "text"
	jsonOutput output = "json"
)

func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "text|json" }
func (o *output) Set(s string) error {
	switch output(s) {
	case textOutput, jsonOutput:
		*o = output(s)
		return nil
	}
	return fmt.Errorf("it is text or json")
}

// usageError ends the program with status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef is an error of whoever typed the command line; it says what to type instead.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// status ends the program with this status; everything was already said.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }
