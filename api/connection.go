package api

import (
	"fmt"
	"net/netip"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// Connection is a connection or template as the API shows it: one line of /v1/connections.
type Connection struct {
	Protocol string         `json:"protocol"` // tcp, udp, sctp; ip: a template of a mark's service
	State    string         `json:"state"`    // LVS's word: ESTABLISHED, UDP, ASSURED, NONE …
	Expires  uint32         `json:"expires"`  // seconds left
	Client   netip.AddrPort `json:"client"`
	Virtual  netip.AddrPort `json:"virtual"` // template of a mark's service: the mark written as an IPv4 address
	Server   netip.AddrPort `json:"server"`
	Engine   string         `json:"pe_name,omitempty"` // persistence engine
	Data     string         `json:"pe_data,omitempty"` // the engine's
}

// anyProtocol is the word for the protocol number 0.
const anyProtocol = "ip"

func showConnection(c *control.ConnEntry) Connection {
	name := anyProtocol
	if c.Protocol != 0 {
		name = service.ProtocolName(c.Protocol)
	}
	return Connection{name, c.State, c.Expires, c.Client, c.Virtual, c.Server, c.Engine, c.Data}
}

// entry converts back.
func (c *Connection) entry() (e control.ConnEntry, err error) {
	number := uint8(0)
	if c.Protocol != anyProtocol {
		if number, err = protocolNumber(c.Protocol); err != nil {
			return e, err
		}
	}
	return control.ConnEntry{
		Protocol: number, State: c.State, Expires: c.Expires, Client: c.Client, Virtual: c.Virtual, Server: c.Server, Engine: c.Engine, Data: c.Data,
	}, nil
}

// protocolNumber is service.ProtocolName's inverse.
func protocolNumber(name string) (uint8, error) {
	for n := uint8(1); n != 0; n++ {
		if service.ProtocolName(n) == name {
			return n, nil
		}
	}
	return 0, fmt.Errorf("there is no protocol %q", name)
}
