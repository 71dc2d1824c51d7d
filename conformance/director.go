package conformance

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/conformance/wire"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/replay"
	"github.com/fastlb/fastlb/service"
)

// director is fastlb on the site of the cases, with what stands for the kernel around it.
type director struct {
	e     *replay.Engine
	marks []service.Mark
	sent  []wire.Frame
}

func newDirector() (*director, error) {
	cfg := neigh.StaticConfig{Neighbors: map[netip.Addr][6]byte{}}
	for _, f := range wire.Interfaces {
		cfg.Interfaces = append(cfg.Interfaces, neigh.StaticInterface{Name: f.Name, MAC: f.MAC, Addresses: f.Addresses})
	}
	for i := 1; i <= wire.Servers; i++ {
		cfg.Neighbors[wire.Server(4, i)] = wire.ServerMAC(i)
		cfg.Neighbors[wire.Server(6, i)] = wire.ServerMAC(i)
	}
	for _, a := range wire.Routers {
		cfg.Neighbors[a] = wire.ClientMAC
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if a.Is6() {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		cfg.Routes = append(cfg.Routes, neigh.StaticRoute{To: all, Via: a})
	}
	d := &director{}
	host := &host{send: d.send}
	var err error
	d.e, err = replay.New(replay.Options{
		Network: cfg, Capacity: 4096, Servers: 1024,
		Sent:   func(f replay.Frame) { d.send(f.Interface, f.Data) },
		Passed: func(p replay.Passed) { host.handle(p.Packet) },
	})
	return d, err
}

func (d *director) send(iface string, f []byte) {
	side := "c"
	if iface == "r0" {
		side = "r"
	}
	d.sent = append(d.sent, wire.Frame{Side: side, Data: slices.Clone(f)})
}

// step carries a step out at a time on the case's clock.
func (d *director) step(s *wire.Step, at clock.Time) (o wire.Outcome, err error) {
	d.e.Advance(at)
	d.sent = nil
	switch {
	case len(s.Frames) > 0:
		for _, f := range s.Frames {
			d.e.Receive(s.Side+"0", at, f)
		}
	case s.Wait > 0:
		d.e.Advance(at + clock.Time(s.Wait)*clock.Millisecond)
	default:
		err = d.command(s.Command, &o)
	}
	o.At, o.Sent = int64(at/1000), d.sent
	return o, err
}

func (d *director) command(w []string, o *wire.Outcome) error {
	switch w[0] {
	case "ipvsadm":
		var stdout, stderr bytes.Buffer
		o.Status = d.e.Ipvsadm(w[1:], &stdout, &stderr)
		o.Stdout, o.Stderr = stdout.String(), stderr.String()
		return nil
	case "tunable":
		return d.e.Apply(control.Op{Kind: control.SetTunable, Name: w[1], Value: w[2]})
	case "mtu":
		n, err := strconv.ParseUint(w[2], 10, 31)
		if err != nil {
			return err
		}
		return d.e.SetMTU(w[1], uint32(n))
	case "mark":
		n, err := strconv.ParseUint(w[1], 10, 31)
		if err != nil {
			return err
		}
		a, err := netip.ParseAddr(w[2])
		if err != nil {
			return err
		}
		port, err := strconv.ParseUint(w[4], 10, 16)
		if err != nil {
			return err
		}
		proto := map[string]uint8{"tcp": service.TCP, "udp": service.UDP}[w[3]]
		d.marks = append(d.marks, service.Mark{Mark: uint32(n), Destination: netip.PrefixFrom(a, a.BitLen()), Protocol: proto, Ports: []uint16{uint16(port)}})
		return d.e.Apply(control.Op{Kind: control.SetMarks, Marks: d.marks})
	}
	return fmt.Errorf("there is no command %s", strings.Join(w, " "))
}

// connections is the connection table.
func (d *director) connections() (l []control.ConnEntry) {
	_ = d.e.Connections(func(c control.ConnEntry) error { // the callback never fails
		l = append(l, c)
		return nil
	})
	return l
}
