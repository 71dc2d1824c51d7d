package config

import (
	"fmt"
	"net/netip"

	"github.com/fastlb/fastlb/service"
)

// Config is one configuration, complete: what the file does not say has its default. The key of each field is its
// name in snake case unless said otherwise; docs/configuration.md describes them to users.
type Config struct {
	Interfaces []Interface
	Workers    Workers
	Flows      Flows
	Timeouts   service.Timeouts // seconds
	Tunables   []Tunable        // in the file's order
	Services   []Service        // those of rules: first, then services:
	Marks      []service.Mark
	Neighbors  []Neighbor
	Routes     []Route // replay only
	Log        Log
	Metrics    Metrics
	API        API

	// Warnings are the mistakes that leave the file valid.
	Warnings []Fault
}

// Interface is one that the director forwards on.
type Interface struct {
	Name      string
	Attach    string         // auto, zerocopy, copy or generic
	Queues    []int          // empty: all
	Parent    string         // a VLAN interface's
	VLAN      uint16         // 1–4094; 0: not a VLAN interface
	MAC       [6]byte        // replay only; zero: not given
	Addresses []netip.Prefix // replay only
	MTU       int            // replay only; bytes, 0: 1500
}

// Workers is how the dataplane runs.
type Workers struct {
	CPUs      []int  // empty: auto, one worker per queue on the NIC's node
	Batch     int    // packets a round, 1–256
	Poll      string // busy, adaptive or interrupt
	Frames    int    // UMEM frames a worker and interface, a power of two
	Hugepages string // auto, off or required
}

// Flows is the connection table.
type Flows struct {
	Capacity uint32 // connections
	State    string // file that it lives in; "": memory
}

// Tunable is one of the IPVS sysctls.
type Tunable struct{ Name, Value string }

// Service is a virtual service with its servers, in the file's order.
type Service struct {
	service.Spec
	Servers []service.ServerSpec
}

// Neighbor is a static one.
type Neighbor struct {
	Addr netip.Addr
	MAC  [6]byte
}

// Route is a static one.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Log is how the director logs.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // console or json
}

// Metrics is where Prometheus scrapes.
type Metrics struct{ Listen string } // host:port; "": nowhere

// API is where the director answers.
type API struct{ Socket, Group string }

// Default is the configuration of an empty file.
func Default() *Config {
	return &Config{
		Workers:  Workers{Batch: 64, Poll: "adaptive", Frames: 4096, Hugepages: "auto"},
		Flows:    Flows{Capacity: 1 << 20, State: "/run/fastlb/flows"},
		Timeouts: service.DefaultTimeouts,
		Log:      Log{Level: "info", Format: "console"},
		Metrics:  Metrics{Listen: "127.0.0.1:9108"},
		API:      API{Socket: "/run/fastlb/fastlb.sock", Group: "fastlb"},
	}
}

// Place is a position in a file; lines and columns count from 1, 0 is unknown.
type Place struct {
	File         string
	Line, Column int
}

func (p Place) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Fault is one thing wrong, or doubtful, in a configuration.
type Fault struct {
	Place
	Key  string // "services[0].servers[1].weight"
	What string // what is wrong and what to do
}

func (f Fault) Error() string { return fmt.Sprintf("%s: %s: %s", f.Place, f.Key, f.What) }
