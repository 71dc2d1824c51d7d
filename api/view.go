package api

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

// Service is a virtual service as the API shows it, in the words of the configuration file.
type Service struct {
	ID                string             `json:"id"`
	Address           string             `json:"address,omitempty"`
	Protocol          string             `json:"protocol,omitempty"`
	Mark              uint32             `json:"mark,omitempty"`
	Family            uint8              `json:"family"`
	Scheduler         string             `json:"scheduler"`
	SchedulerFlags    service.SchedFlags `json:"scheduler_flags,omitempty"`
	IsPersistent      bool               `json:"is_persistent,omitempty"`
	Persistent        uint32             `json:"persistent,omitempty"` // seconds
	PersistentMask    Mask               `json:"persistent_mask,omitzero"`
	PersistenceEngine string             `json:"persistence_engine,omitempty"`
	OnePacket         bool               `json:"one_packet,omitempty"`
	Stats             Stats              `json:"stats"`
	Rates             Stats              `json:"rates"`
	Servers           []Server           `json:"servers"`
}

// Server is a real server as the API shows it.
type Server struct {
	Address    string `json:"address"`
	Forward    string `json:"forward"`
	Weight     int32  `json:"weight"`
	Upper      uint32 `json:"upper_threshold,omitempty"`
	Lower      uint32 `json:"lower_threshold,omitempty"`
	Tunnel     Tunnel `json:"tunnel,omitzero"`
	Active     uint32 `json:"active"`
	Inactive   uint32 `json:"inactive"`
	Persistent uint32 `json:"persistent"` // templates
	Stats      Stats  `json:"stats"`
	Rates      Stats  `json:"rates"`
	// What active is made of, by when a packet was last seen: with ?ages=true.
	Ages *control.Ages `json:"ages,omitempty"`
}

// Tunnel is how packets to a tunnel's end are wrapped.
type Tunnel struct {
	Type     string `json:"type"`
	Port     uint16 `json:"port,omitempty"`
	Checksum string `json:"checksum,omitempty"`
}

// Stats are counts, or rates per second.
type Stats struct {
	Conns    uint64 `json:"conns"`
	InPkts   uint64 `json:"inpkts"`
	OutPkts  uint64 `json:"outpkts"`
	InBytes  uint64 `json:"inbytes"`
	OutBytes uint64 `json:"outbytes"`
}

// words of the enumerations, by their number.
var (
	methods   = []string{service.NAT: "nat", service.Local: "local", service.Tunnel: "tunnel", service.DR: "dr", service.Bypass: "bypass"}
	tunnels   = []string{service.IPIP: "ipip", service.GUE: "gue", service.GRE: "gre"}
	checksums = []string{service.NoChecksum: "none", service.Checksum: "checksum", service.RemoteChecksum: "remote"}
)

func word(words []string, n int) string {
	if n < len(words) {
		return words[n]
	}
	return strconv.Itoa(n)
}

func number(words []string, w, what string) (int, error) {
	for i, s := range words {
		if s == w {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s %q is not one of %s", what, w, strings.Join(words, ", "))
}

// FormatID is the name of a service within a URL.
func FormatID(id service.ID) string {
	switch {
	case id.Mark != 0 && id.Family == 6:
		return fmt.Sprintf("mark:%d:6", id.Mark)
	case id.Mark != 0:
		return fmt.Sprintf("mark:%d", id.Mark)
	}
	return service.ProtocolName(id.Protocol) + ":" + netip.AddrPortFrom(id.Addr, id.Port).String()
}

// ParseID reads the name of a service within a URL.
func ParseID(s string) (id service.ID, err error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "mark":
		id.Family = 4
		if r, ok := strings.CutSuffix(rest, ":6"); ok {
			rest, id.Family = r, 6
		}
		n, err := strconv.ParseUint(rest, 10, 32)
		if err != nil || n == 0 {
			return id, fmt.Errorf("service %q: write mark:NUMBER", s)
		}
		id.Mark = uint32(n)
		return id, nil
	case "tcp":
		id.Protocol = service.TCP
	case "udp":
		id.Protocol = service.UDP
	case "sctp":
		id.Protocol = service.SCTP
	default:
		return id, fmt.Errorf("service %q: write tcp:ADDRESS:PORT, udp:…, sctp:… or mark:NUMBER", s)
	}
	ap, err := netip.ParseAddrPort(rest)
	if err != nil {
		return id, fmt.Errorf("service %q: %w", s, err)
	}
	id.Addr, id.Port, id.Family = ap.Addr(), ap.Port(), 4
	if id.Addr.Is6() {
		id.Family = 6
	}
	return id, nil
}

// show converts from a listing's entry.
func show(e *control.ServiceEntry) Service {
	s := Service{
		ID: FormatID(e.Spec.ID), Mark: e.Spec.Mark, Family: e.Spec.Family, Scheduler: e.Spec.Scheduler, SchedulerFlags: e.Spec.Flags,
		IsPersistent: e.Spec.Persistent, Persistent: e.Spec.Timeout, PersistentMask: maskOf(e.Spec.Family, e.Spec.Netmask), PersistenceEngine: e.Spec.Engine,
		OnePacket: e.Spec.OnePacket, Stats: Stats(e.Stats), Rates: Stats(e.Rates), Servers: make([]Server, len(e.Servers)),
	}
	if e.Spec.Mark == 0 {
		s.Address, s.Protocol = netip.AddrPortFrom(e.Spec.Addr, e.Spec.Port).String(), service.ProtocolName(e.Spec.Protocol)
	}
	for i, d := range e.Servers {
		s.Servers[i] = Server{
			Address: d.Spec.ServerID.String(), Forward: word(methods, int(d.Spec.Method)), Weight: d.Spec.Weight, Upper: d.Spec.Upper,
			Lower: d.Spec.Lower, Active: d.Active, Inactive: d.Inactive, Persistent: d.Persistent, Stats: Stats(d.Stats), Rates: Stats(d.Rates), Ages: d.Ages,
		}
		if d.Spec.Method == service.Tunnel {
			s.Servers[i].Tunnel = Tunnel{word(tunnels, int(d.Spec.Tunnel)), d.Spec.TunPort, word(checksums, int(d.Spec.TunSum))}
		}
	}
	return s
}

// Show converts a listing into what the API shows.
func Show(list []control.ServiceEntry) []Service {
	out := make([]Service, len(list))
	for i := range list {
		out[i] = show(&list[i])
	}
	return out
}

// entry converts back.
func (s *Service) entry() (e control.ServiceEntry, err error) {
	if e.Spec.ID, err = ParseID(s.ID); err != nil {
		return e, err
	}
	e.Spec.Scheduler, e.Spec.Flags, e.Spec.Persistent, e.Spec.Timeout = s.Scheduler, s.SchedulerFlags, s.IsPersistent, s.Persistent
	e.Spec.Netmask, e.Spec.Engine, e.Spec.OnePacket = s.PersistentMask.netmask(e.Spec.Family), s.PersistenceEngine, s.OnePacket
	e.Stats, e.Rates = service.Stats(s.Stats), service.Stats(s.Rates)
	e.Servers = make([]control.ServerEntry, len(s.Servers))
	for i := range s.Servers {
		if e.Servers[i], err = s.Servers[i].entry(); err != nil {
			return e, fmt.Errorf("service %s: %w", s.ID, err)
		}
	}
	return e, nil
}

func (d *Server) entry() (e control.ServerEntry, err error) {
	ap, err := netip.ParseAddrPort(d.Address)
	if err != nil {
		return e, fmt.Errorf("server %q: %w", d.Address, err)
	}
	method, err := number(methods, d.Forward, "forwarding method")
	if err != nil {
		return e, err
	}
	e.Spec = service.ServerSpec{
		ServerID: service.ServerID{Addr: ap.Addr(), Port: ap.Port()}, Method: service.Method(method), Weight: d.Weight, Upper: d.Upper, Lower: d.Lower,
	}
	if d.Tunnel != (Tunnel{}) {
		kind, err := number(tunnels, d.Tunnel.Type, "tunnel type")
		if err != nil {
			return e, err
		}
		sum, err := number(checksums, d.Tunnel.Checksum, "tunnel checksum")
		if err != nil {
			return e, err
		}
		e.Spec.Tunnel, e.Spec.TunPort, e.Spec.TunSum = service.TunnelType(kind), d.Tunnel.Port, service.TunnelChecksum(sum)
	}
	e.Active, e.Inactive, e.Persistent, e.Ages = d.Active, d.Inactive, d.Persistent, d.Ages
	e.Stats, e.Rates = service.Stats(d.Stats), service.Stats(d.Rates)
	return e, nil
}
