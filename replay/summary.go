package replay

import (
	"bytes"
	"io"
	"net/netip"
	"slices"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/ipvsadm"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// Summary is what a replay came to: the JSON of --summary. Counts are of frames unless said otherwise.
type Summary struct {
	Received    uint64            `json:"received"` // every frame read
	Sent        uint64            `json:"sent"`
	Passed      uint64            `json:"passed"`      // left to the kernel
	Dropped     map[string]uint64 `json:"dropped"`     // by perf.Reason's text; reasons that did not occur are absent
	Connections int               `json:"connections"` // entries of the table at the end, templates included
	Services    []ServiceSummary  `json:"services"`    // in the order they were added
}

// Counts are the statistics of a service or server.
type Counts struct {
	Conns    uint64 `json:"conns"`
	InPkts   uint64 `json:"inpkts"`
	OutPkts  uint64 `json:"outpkts"`
	InBytes  uint64 `json:"inbytes"`
	OutBytes uint64 `json:"outbytes"`
}

// ServiceSummary is one virtual service.
type ServiceSummary struct {
	Service  string `json:"service"`  // ADDR:PORT; a mark's service is called "mark 1"
	Protocol string `json:"protocol"` // tcp, udp, sctp; "" for a mark's
	Counts
	Servers []ServerSummary `json:"servers"` // in the order they were added
}

// ServerSummary is one real server.
type ServerSummary struct {
	Server string `json:"server"` // ADDR:PORT
	Counts
	Active   uint32 `json:"active"`
	Inactive uint32 `json:"inactive"`
}

// Summary sums up what happened so far.
func (e *Engine) Summary() (*Summary, error) {
	s := &Summary{Received: e.received, Sent: e.sent, Dropped: map[string]uint64{}, Connections: e.flows.Len(), Services: []ServiceSummary{}}
	for i, n := range e.Reasons() {
		r := perf.Reason(i)
		switch {
		case n == 0:
		case r.IsPass():
			s.Passed += n
		default:
			s.Dropped[r.String()] += n
		}
	}
	list, err := e.local().Services()
	if err != nil {
		return nil, err
	}
	for _, v := range list {
		x := ServiceSummary{Counts: Counts(v.Stats), Servers: []ServerSummary{}}
		x.Service, x.Protocol = serviceName(v.Spec.ID)
		for _, d := range slices.Backward(v.Servers) { // the table has the latest first
			x.Servers = append(x.Servers, ServerSummary{
				Server: d.Spec.ServerID.String(), Counts: Counts(d.Stats), Active: d.Active, Inactive: d.Inactive,
			})
		}
		s.Services = append(s.Services, x)
	}
	return s, nil
}

// serviceName gives a service's name and protocol as the metrics label them.
func serviceName(id service.ID) (name, protocol string) {
	if id.Mark != 0 {
		return id.String(), ""
	}
	return netip.AddrPortFrom(id.Addr, id.Port).String(), service.ProtocolName(id.Protocol)
}

// Ipvsadm carries out an ipvsadm command line (args without the program's name) at the present time, and returns its
// exit status. Names of hosts and ports are neither resolved nor printed: they are the machine's.
func (e *Engine) Ipvsadm(args []string, stdout, stderr io.Writer) int {
	e.quiet = 0
	return ipvsadm.Run("ipvsadm", args, bytes.NewReader(nil), stdout, stderr, e.local(), &ipvsadm.Names{})
}

// Connections lists the table.
func (e *Engine) Connections(yield func(control.ConnEntry) error) error {
	return e.local().Connections(yield)
}

// local is the table as ipvsadm works on it, now.
func (e *Engine) local() ipvsadm.Engine { return localEngine{e} }
