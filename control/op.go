package control

import (
	"fmt"
	"net/netip"

	"github.com/fastlb/fastlb/service"
)

// Kind names what an Op does: ipvsadm's own command names where it has one. It is text so that the API's JSON reads.
type Kind string

const (
	AddService    Kind = "add-service"    // Service
	EditService   Kind = "edit-service"   // Service
	DeleteService Kind = "delete-service" // Service.ID
	Flush         Kind = "flush"          // every service; connections stay
	AddServer     Kind = "add-server"     // Service.ID, Server
	EditServer    Kind = "edit-server"    // Service.ID, Server
	DeleteServer  Kind = "delete-server"  // Service.ID, Server.ServerID
	SetTimeouts   Kind = "set"            // Timeouts; a field of 0 leaves that one as it is
	Zero          Kind = "zero"           // Service.ID; the zero ID: every service
	StartDaemon   Kind = "start-daemon"   // Daemon
	StopDaemon    Kind = "stop-daemon"    // Daemon.State, Daemon.SyncID
	SetMarks      Kind = "marks"          // Marks replace all that were
	SetTunable    Kind = "tunable"        // Name, Value
)

// Op is one change of the director's table, as data: what one ipvsadm command, or one line of a configuration's
// difference, asks for. Which fields count is said beside each Kind; the others are ignored. The zero Op is invalid.
type Op struct {
	Kind     Kind               `json:"op"`
	Service  service.Spec       `json:"service,omitzero"`
	Server   service.ServerSpec `json:"server,omitzero"`
	Timeouts service.Timeouts   `json:"timeouts,omitzero"`
	Daemon   Daemon             `json:"daemon,omitzero"`
	Marks    []service.Mark     `json:"marks,omitempty"`
	Name     string             `json:"name,omitempty"`
	Value    string             `json:"value,omitempty"`
}

// DaemonState is the role of a connection synchronisation daemon.
type DaemonState string

const (
	Master DaemonState = "master"
	Backup DaemonState = "backup"
)

// Daemon is a connection synchronisation daemon as ipvsadm --start-daemon sets it. Numbers of 0 and an invalid Group
// mean the default.
type Daemon struct {
	State     DaemonState `json:"state"`
	Interface string      `json:"interface,omitempty"`
	SyncID    uint8       `json:"syncid"`
	MaxLen    uint16      `json:"maxlen,omitempty"` // bytes
	Group     netip.Addr  `json:"group,omitzero"`
	Port      uint16      `json:"port,omitempty"`
	TTL       uint8       `json:"ttl,omitempty"`
}

// NotYet is the error of an Op that is well formed but asks for something this director cannot do. Nothing was
// changed.
type NotYet struct {
	What string // "SCTP services", in the plural, as it stands in a sentence
}

func (e *NotYet) Error() string { return fmt.Sprintf("%s are not supported", e.What) }
