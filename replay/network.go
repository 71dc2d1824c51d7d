package replay

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
)

// network is the interfaces as replay sees them: which port a captured frame enters by, and in which block of the
// output a sent frame stands. Ports are NICs. A VLAN interface's frames go through its parent's port with their tag,
// whether or not the parent is configured itself.
type network struct {
	static *neigh.Static
	names  []string // the configured interfaces: the blocks of the output
	links  []link   // by index of the network's interfaces: the configured ones, then NICs that only VLANs name
	ports  []int    // by port: index of the NIC in links
	byName map[string]int
}

// link is one logical interface.
type link struct {
	mac  [6]byte
	tags tags // none: a NIC
	port int
}

// tags are the VLAN ids that a frame carries or an interface stands for, outer first.
type tags struct {
	id [2]uint16
	n  int
}

// newNetwork checks the description and lays out ports.
func newNetwork(cfg neigh.StaticConfig) (*network, error) {
	n := &network{byName: map[string]int{}}
	if len(cfg.Interfaces) == 0 {
		return nil, fmt.Errorf("no interfaces: replay needs at least one, with name, mac and addresses")
	}
	all := slices.Clone(cfg.Interfaces)
	for _, f := range cfg.Interfaces {
		n.names = append(n.names, f.Name)
	}
	for i := range cfg.Interfaces { // NICs that are only named as parents
		f := &cfg.Interfaces[i]
		has := func(g neigh.StaticInterface) bool { return g.Name == f.Parent }
		if f.Parent != "" && !slices.ContainsFunc(all, has) {
			all = append(all, neigh.StaticInterface{Name: f.Parent, MAC: f.MAC, MTU: f.MTU})
		}
	}
	for i := range all { // a VLAN has its NIC's address unless it is given its own
		for at := i; all[i].MAC == ([6]byte{}) && all[at].Parent != "" && all[at].Parent != all[at].Name; {
			at = slices.IndexFunc(all, func(g neigh.StaticInterface) bool { return g.Name == all[at].Parent })
			all[i].MAC = all[at].MAC
		}
	}
	cfg.Interfaces = all
	var err error
	if n.static, err = neigh.NewStatic(cfg); err != nil {
		return nil, err
	}
	ifs := n.static.Snapshot().Interfaces
	n.links = make([]link, len(ifs))
	for i := range ifs {
		f := &ifs[i]
		n.byName[f.Name] = i
		if f.MAC == ([6]byte{}) {
			return nil, fmt.Errorf("interface %s: no mac: replay has no interface to read it from", f.Name)
		}
		n.links[i].mac = f.MAC
		if f.Parent == i {
			n.links[i].port = len(n.ports)
			n.ports = append(n.ports, i)
		}
	}
	for i := range ifs {
		at := i
		for ifs[at].Parent != at {
			t := &n.links[i].tags
			if t.n == len(t.id) {
				return nil, fmt.Errorf("interface %s: a VLAN inside more than one other", ifs[i].Name)
			}
			t.id, t.n = [2]uint16{ifs[at].VLAN, t.id[0]}, t.n+1
			at = ifs[at].Parent
		}
		n.links[i].port = n.links[at].port
	}
	return n, nil
}

// portOf is worker.Snapshot.PortOf: every interface's port.
func (n *network) portOf() []int16 {
	out := make([]int16, len(n.links))
	for i := range n.links {
		out[i] = int16(n.links[i].port)
	}
	return out
}

// arrival says by which port a frame captured on the named interface ("": the first) enters, and which tags are to be
// put in front first: captured on a VLAN's own interface, a frame has lost them. False: nothing is configured there.
func (n *network) arrival(name string, frame []byte) (port int, missing tags, ok bool) {
	i := 0
	if name != "" {
		if i, ok = n.byName[name]; !ok {
			return 0, missing, false
		}
	}
	l := &n.links[i]
	if readTags(frame) != l.tags {
		missing = l.tags
	}
	return l.port, missing, true
}

// host tells whether a frame on a port is addressed to one of the configured interfaces: its tags name the interface,
// its destination is that one's MAC.
func (n *network) host(port int, frame []byte) bool {
	t := readTags(frame)
	for i := range n.names {
		l := &n.links[i]
		if l.port == port && l.tags == t {
			return [6]byte(frame[:6]) == l.mac
		}
	}
	return false
}

// block is the place among the output's interfaces of a frame sent by a port: the NIC's, or where that is not configured
// the VLAN interface's whose tag it carries. -1: none, which cannot be as long as only VLANs send there.
func (n *network) block(port int, frame []byte) int {
	if i := n.ports[port]; i < len(n.names) {
		return i
	}
	t := readTags(frame)
	for i := range n.names {
		if n.links[i].port == port && n.links[i].tags == t {
			return i
		}
	}
	return -1
}

// readTags are a frame's tags; priority tags (id 0) do not count, nor does what stands behind the second.
func readTags(frame []byte) (t tags) {
	for off := 12; len(frame) >= off+4 && off < 20; off += 4 {
		switch binary.BigEndian.Uint16(frame[off:]) {
		case packet.EtherVLAN, packet.EtherQinQ:
		default:
			return t
		}
		if id := binary.BigEndian.Uint16(frame[off+2:]) & 0x0fff; id != 0 {
			t.id[t.n] = id
			t.n++
		}
	}
	return t
}

// putFrame copies a frame to dst with tags t inserted and returns the length. dst has room for both.
func putFrame(dst, frame []byte, t tags) int {
	if t.n == 0 || len(frame) < 12 {
		return copy(dst, frame)
	}
	n := copy(dst, frame[:12])
	for _, id := range t.id[:t.n] {
		binary.BigEndian.PutUint16(dst[n:], packet.EtherVLAN)
		binary.BigEndian.PutUint16(dst[n+2:], id)
		n += 4
	}
	return n + copy(dst[n:], frame[12:])
}
