package replay

import (
	"net/netip"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/neigh"
)

// FromConfig makes an engine's options of a configuration, and the changes that set up what it describes.
func FromConfig(c *config.Config) (Options, []control.Op) {
	o := Options{Capacity: c.Flows.Capacity, Network: neigh.StaticConfig{Neighbors: map[netip.Addr][6]byte{}}}
	for _, f := range c.Interfaces {
		o.Network.Interfaces = append(o.Network.Interfaces, neigh.StaticInterface{
			Name: f.Name, Parent: f.Parent, VLAN: f.VLAN, MAC: f.MAC, MTU: uint32(f.MTU), Addresses: f.Addresses,
		})
	}
	for _, n := range c.Neighbors {
		o.Network.Neighbors[n.Addr] = n.MAC
	}
	for _, r := range c.Routes {
		o.Network.Routes = append(o.Network.Routes, neigh.StaticRoute{To: r.To, Via: r.Via})
	}
	return o, c.Ops()
}
