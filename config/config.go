package config

import (
	"net/netip"

	"github.com/fastlb/fastlb/service"
)

// Config is one configuration, complete: what the file does not say has its default. docs/configuration.md describes
// the keys to users.
type Config struct {
	Interfaces []Interface
	Workers    Workers
	Flows      Flows
	Timeouts   service.Timeouts // seconds
	Tunables   []Tunable        // in the file's order
	Services   []Service        // those of rules: first, then those of services:
	Marks      []service.Mark
	Neighbors  []Neighbor
	Routes     []Route // replay only
	Log        Log
	Metrics    Metrics
	API        API

	// Warnings are the mistakes that leave a file valid.
	Warnings Faults
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
	MTU       int            // replay only; bytes
}

// Workers is how the dataplane runs.
type Workers struct {
	CPUs      []int  // empty: auto, one worker per queue on the NIC's node
	Batch     int    // packets a round, 1–256
	Poll      string // busy, adaptive or interrupt
	BusyPoll  string // auto, on or off: whether workers poll the NICs' queues themselves, interrupts held off
	Frames    int    // UMEM frames a worker and interface
	Hugepages string // auto, off or required
	NUMA      string // auto, off or a node's number
	Tune      string // auto or off
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

	key        string   // where it stands in the file: "services[0]", "rules[3]" (line 3)
	serverKeys []string // the same of its servers
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

// DefaultMTU is an interface's where nothing says otherwise, in bytes.
const DefaultMTU = 1500

// Default is the configuration of an empty file.
func Default() *Config {
	return &Config{
		Workers:  Workers{Batch: 64, Poll: "adaptive", BusyPoll: "auto", Frames: 4096, Hugepages: "auto", NUMA: "auto", Tune: "auto"},
		Flows:    Flows{Capacity: 1 << 20, State: "/run/fastlb/flows"},
		Timeouts: service.DefaultTimeouts,
		Log:      Log{Level: "info", Format: "console"},
		Metrics:  Metrics{Listen: "127.0.0.1:9108"},
		API:      API{Socket: "/run/fastlb/fastlb.sock", Group: "fastlb"},
	}
}

// NewInterface is an interface with everything but its name at the default.
func NewInterface(name string) Interface {
	return Interface{Name: name, Attach: "auto", MTU: DefaultMTU}
}
