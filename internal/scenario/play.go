package scenario

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/scenario/frame"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/replay"
	"github.com/fastlb/fastlb/service"
)

// play is a script being played.
type play struct {
	site  site
	e     *replay.Engine
	now   clock.Time
	met   map[string]bool
	known map[string][]byte // packets that later ones may quote

	service service.Spec   // named last
	method  service.Method // of its servers
	marks   []service.Mark

	// of the line being played
	events  []string
	output  []string
	sent    []sent
	before  map[string]string // connections, with their state
	reasons [perf.Reasons]uint64
}

// sent is a frame that the director sent.
type sent struct {
	iface string
	at    clock.Time
	data  []byte
}

// begin prepares for the next line.
func (p *play) begin() {
	p.events, p.output, p.sent = nil, nil, nil
	if p.e != nil {
		p.before = p.connections()
		p.reasons = p.e.Reasons()
	}
}

// start makes the engine: the site is complete.
func (p *play) start() error {
	if !p.site.given {
		p.site.StaticConfig = standard()
	}
	var err error
	p.known = map[string][]byte{}
	p.e, err = replay.New(replay.Options{
		Network: p.site.StaticConfig, Capacity: cmp.Or(p.site.capacity, 1024), Workers: p.site.workers,
		Sent: func(f replay.Frame) {
			p.sent = append(p.sent, sent{f.Interface, f.At, slices.Clone(f.Data)})
		},
	})
	if err != nil {
		return err
	}
	p.before = map[string]string{}
	return nil
}

// do plays one line.
func (p *play) do(command string) error {
	w, err := replay.Words(command)
	if err != nil {
		return err
	}
	if p.e == nil {
		if ok, err := p.site.describe(w); ok || err != nil {
			return err
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	switch w[0] {
	case "service":
		return p.addService(w[1:])
	case "server":
		return p.server(control.AddServer, w[1:])
	case "edit":
		return p.server(control.EditServer, w[1:])
	case "remove":
		if len(w) == 2 && w[1] == "service" {
			return p.apply(control.Op{Kind: control.DeleteService, Service: p.service})
		}
		return p.server(control.DeleteServer, w[1:])
	case "mark":
		return p.mark(w[1:])
	case "tunable":
		return p.apply(control.Op{Kind: control.SetTunable, Name: w[1], Value: strings.Join(w[2:], " ")})
	case "interface", "neighbor":
		return p.network(w)
	case "ipvsadm":
		return p.ipvsadm(w[1:])
	case "packet":
		return p.packet(w[1:])
	case "frame":
		return p.frame(w[1:])
	case "advance":
		return p.advance(w[1:])
	}
	return errors.New("no such command")
}

// apply carries out a change; a refusal is a result.
func (p *play) apply(op control.Op) error {
	if err := p.e.Apply(op); err != nil {
		p.events = append(p.events, "error "+err.Error())
	}
	p.tell()
	return nil
}

func (p *play) network(w []string) error {
	switch {
	case w[0] == "neighbor" && len(w) == 3:
		a, err := netip.ParseAddr(w[1])
		if err != nil {
			return err
		}
		mac, err := parseMAC(w[2])
		if err != nil {
			return err
		}
		p.site.Neighbors[a] = mac
		if err := p.e.SetNeighbor(a, mac); err != nil {
			return err
		}
	case w[0] == "interface" && len(w) == 4 && w[2] == "mtu":
		n, err := strconv.ParseUint(w[3], 10, 31)
		if err != nil {
			return err
		}
		if err := p.e.SetMTU(w[1], uint32(n)); err != nil {
			return err
		}
	default:
		return errors.New("the site is described before anything else; then there are interface NAME mtu N and neighbor ADDRESS MAC")
	}
	p.tell()
	return nil
}

func (p *play) ipvsadm(args []string) error {
	var out, errs bytes.Buffer
	status := p.e.Ipvsadm(args, &out, &errs)
	for _, b := range []*bytes.Buffer{&out, &errs} {
		if b.Len() > 0 {
			p.output = append(p.output, strings.Split(strings.TrimRight(b.String(), "\n"), "\n")...)
		}
	}
	if status != 0 {
		p.events = append(p.events, fmt.Sprint("status ", status))
	}
	p.tell()
	return nil
}

// packet puts one packet in.
func (p *play) packet(w []string) error {
	var iface string
	var to *[6]byte
	times := 1
	for len(w) >= 2 {
		if w[0] == "on" {
			iface, w = w[1], w[2:]
			continue
		}
		if w[0] == "times" {
			n, err := strconv.Atoi(w[1])
			if err != nil {
				return err
			}
			times, w = n, w[2:]
			continue
		}
		if w[0] == "to" {
			mac, err := parseMAC(w[1])
			if err != nil {
				return err
			}
			to, w = &mac, w[2:]
			continue
		}
		break
	}
	if len(w) > 1 && w[1] == ">" {
		w = append([]string{"tcp"}, w...)
	}
	s, err := frame.Parse(w)
	if err != nil {
		return err
	}
	net := p.e.Network()
	r := net.Route(packet.AddrFrom(s.Src.Addr()))
	var from [6]byte
	if r.Kind == neigh.Unicast {
		from = net.Hop(r.Hop).MAC
	}
	if from == ([6]byte{}) {
		from = [6]byte{2, 0, 0, 0, 9, 9}
	}
	in := net.Interfaces[r.Interface]
	if iface == "" {
		iface = in.Name
	} else if i, ok := net.InterfaceByName(iface); ok {
		in = net.Interfaces[i]
	}
	if to == nil {
		to = &in.MAC
	}
	var all [][]byte
	for range times {
		frames, err := s.Frames(*to, from, p.known)
		if err != nil {
			return err
		}
		all = append(all, frames...)
		s.Src = netip.AddrPortFrom(s.Src.Addr(), s.Src.Port()+1)
		s.Next()
	}
	p.receive(iface, all)
	return nil
}

func (p *play) frame(w []string) error {
	iface := ""
	if len(w) > 2 && w[0] == "on" {
		iface, w = w[1], w[2:]
	}
	text := strings.Join(w, "")
	first := p.e.Network().Interfaces[0].MAC
	text = strings.ReplaceAll(text, "to", hex.EncodeToString(first[:]))
	text = strings.ReplaceAll(text, "from", "0200000000fe")
	b, err := hex.DecodeString(text)
	if err != nil {
		return err
	}
	p.receive(iface, [][]byte{b})
	return nil
}

func (p *play) receive(iface string, frames [][]byte) {
	ips := [][]byte{}
	for _, f := range frames {
		p.e.Receive(iface, p.now, f)
		ips = append(ips, network(f))
		p.known["in"] = network(f)
	}
	p.describe(ips)
	p.tell()
	if len(p.events) == 0 {
		p.events = []string{"nothing"}
	}
}

// network is what follows the link header, tags included.
func network(f []byte) []byte {
	off := 12
	for len(f) >= off+4 && f[off] == 0x81 && f[off+1] == 0 {
		off += 4
	}
	return f[min(off+2, len(f)):]
}

func (p *play) advance(w []string) error {
	if len(w) != 1 {
		return errors.New("want advance DURATION")
	}
	d, err := time.ParseDuration(w[0])
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no duration", w[0])
	}
	from := p.now
	p.now += clock.Time(d)
	p.e.Advance(p.now)
	for _, s := range p.sent {
		p.events = append(p.events, fmt.Sprintf("at +%v %s", time.Duration(s.at-from), p.frameText(&s, nil)))
	}
	p.sent = nil
	after := p.connections()
	gone := map[string]int{}
	for key, state := range p.before {
		if _, ok := after[key]; !ok {
			gone[strings.ToLower(strings.Fields(key)[0])+" "+state]++
		}
	}
	for _, g := range slices.Sorted(maps.Keys(gone)) {
		p.events = append(p.events, fmt.Sprintf("expired %d %s", gone[g], g))
	}
	p.tell()
	return nil
}

// connections lists the table: who, and in which state.
func (p *play) connections() map[string]string {
	all := map[string]string{}
	p.e.Connections(func(c control.ConnEntry) error {
		all[fmt.Sprintf("%s %v %v", protocolName(c.Protocol), c.Client, c.Virtual)] = c.State
		return nil
	})
	return all
}

func protocolName(p uint8) string {
	switch p {
	case 0:
		return "template"
	case service.TCP:
		return "tcp"
	case service.UDP:
		return "udp"
	case service.SCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}
