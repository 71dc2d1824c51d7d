package ipvsadm

import (
	"fmt"
	"io"
	"strings"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// list carries out -L.
func (p *program) list(c *Command) error {
	switch {
	case c.given.has(optConnection):
		return p.listConnections(c.format)
	case c.given.has(optService):
		return p.listService(c)
	case c.given.has(optTimeout):
		t, err := p.engine.Timeouts()
		if err != nil {
			return p.listFault(err, nil)
		}
		fmt.Fprintf(p.out, "Timeout (tcp tcpfin udp): %d %d %d\n", t.TCP, t.TCPFin, t.UDP)
		return nil
	case c.given.has(optDaemon):
		return p.listDaemons()
	}
	entries, err := p.engine.Services()
	if err != nil {
		return p.listFault(err, nil)
	}
	info, err := p.engine.Info()
	if err != nil {
		return p.listFault(err, nil)
	}
	v := info.Version
	fmt.Fprintf(p.out, "IP Virtual Server version %d.%d.%d (size=%d)\n", v[0], v[1], v[2], info.Size)
	c.format.title(p.out)
	c.format.services(p.out, p.names, entries)
	return nil
}

// listService lists one service, without the version line.
func (p *program) listService(c *Command) error {
	entries, err := p.engine.Services()
	if err != nil {
		return p.listFault(err, nil)
	}
	for i := range entries {
		if entries[i].Spec.ID == c.service.ID {
			c.format.title(p.out)
			c.format.services(p.out, p.names, entries[i:i+1])
			return nil
		}
	}
	return p.listFault(service.ErrNoService, c)
}

// save carries out -S.
func (p *program) save(c *Command) error {
	entries, err := p.engine.Services()
	if err != nil {
		return p.listFault(err, nil)
	}
	f := c.format
	f.view = rules
	f.services(p.out, p.names, entries)
	return nil
}

// listConnections carries out -L -c.
func (p *program) listConnections(f format) error {
	fmt.Fprintf(p.out, "IPVS connection entries\n")
	if f.engineData {
		fmt.Fprintf(p.out, "pro expire %-11s %-18s %-18s %-18s %-16s %s\n", "state", "source", "virtual", "destination", "pe name", "pe_data")
	} else {
		fmt.Fprintf(p.out, "pro expire %-11s %-18s %-18s %s\n", "state", "source", "virtual", "destination")
	}
	err := p.engine.Connections(func(e control.ConnEntry) error {
		f.connection(p.out, p.names, &e)
		return nil
	})
	if err != nil {
		return p.listFault(err, nil)
	}
	return nil
}

// connection writes the line of one connection.
func (f format) connection(w io.Writer, n *Names, e *control.ConnEntry) {
	expire := fmt.Sprintf("%02d:%02d", e.Expires/60, e.Expires%60)
	client := n.addrPort(e.Client.Addr(), e.Client.Port(), e.Protocol, f.numeric)
	virtual := n.addrPort(e.Virtual.Addr(), e.Virtual.Port(), e.Protocol, f.numeric)
	server := n.addrPort(e.Server.Addr(), e.Server.Port(), e.Protocol, f.numeric)
	protocol := protocolName(e.Protocol)
	data, _, _ := strings.Cut(e.Data, " ")
	if f.engineData && e.Engine != "" && data != "" {
		fmt.Fprintf(w, "%-3s %-6s %-11s %-18s %-18s %-16s %-18s %s\n", protocol, expire, e.State, client, virtual, server, e.Engine, data)
		return
	}
	fmt.Fprintf(w, "%-3s %-6s %-11s %-18s %-18s %s\n", protocol, expire, e.State, client, virtual, server)
}

// listDaemons carries out -L --daemon: the master first.
func (p *program) listDaemons() error {
	daemons, err := p.engine.Daemons()
	if err != nil {
		return p.listFault(err, nil)
	}
	for _, state := range []control.DaemonState{control.Master, control.Backup} {
		for _, d := range daemons {
			if d.State != state {
				continue
			}
			fmt.Fprintf(p.out, "%s sync daemon (mcast=%s, syncid=%d", state, d.Interface, d.SyncID)
			if d.MaxLen != 0 {
				fmt.Fprintf(p.out, ", maxlen=%d", d.MaxLen)
			}
			if d.Group.IsValid() {
				fmt.Fprintf(p.out, ", group=%s", d.Group)
			}
			if d.Port != 0 {
				fmt.Fprintf(p.out, ", port=%d", d.Port)
			}
			if d.TTL != 0 {
				fmt.Fprintf(p.out, ", ttl=%d", d.TTL)
			}
			fmt.Fprintf(p.out, ")\n")
		}
	}
	return nil
}
