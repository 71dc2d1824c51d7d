package control

import (
	"net/netip"

	"github.com/fastlb/fastlb/service"
)

// Info is what the header of a listing says.
type Info struct {
	Version [3]uint8 `json:"version"` // of IPVS, whose rules are followed: 1.2.1
	Size    uint64   `json:"size"`    // capacity of the connection table
}

// ServiceEntry is a virtual service as listings show it, its servers with it: the latest added first.
type ServiceEntry struct {
	Spec    service.Spec  `json:"service"`
	Stats   service.Stats `json:"stats"` // since the service was made or zeroed
	Rates   service.Stats `json:"rates"` // per second
	Servers []ServerEntry `json:"servers"`
}

// ServerEntry is a real server as listings show it.
type ServerEntry struct {
	Spec       service.ServerSpec `json:"server"`
	Active     uint32             `json:"active"`     // connections
	Inactive   uint32             `json:"inactive"`   // connections
	Persistent uint32             `json:"persistent"` // templates
	Stats      service.Stats      `json:"stats"`
	Rates      service.Stats      `json:"rates"`          // per second
	Ages       *Ages              `json:"ages,omitempty"` // what Active is made of; nil: nobody asked
	Slot       uint32             `json:"-"`              // number of the server's slot
}

// ConnEntry is a connection or a persistence template as listings show it.
type ConnEntry struct {
	Protocol uint8          `json:"protocol"` // 0: a template of a mark's service, listed as IP
	State    string         `json:"state"`    // LVS's word: ESTABLISHED, UDP, ASSURED, NONE …
	Expires  uint32         `json:"expires"`  // seconds left
	Client   netip.AddrPort `json:"client"`
	Virtual  netip.AddrPort `json:"virtual"` // template of a mark's service: the mark written as an IPv4 address
	Server   netip.AddrPort `json:"server"`
	Engine   string         `json:"pe_name,omitempty"` // persistence engine
	Data     string         `json:"pe_data,omitempty"` // the engine's
}
