package conformance

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/fastlb/fastlb/conformance/wire"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/scenario/frame"
	"github.com/fastlb/fastlb/replay"
)

// author writes a case while an engine plays it, so that later steps can refer to what earlier ones brought about.
type author struct {
	*rand.Rand
	c    wire.Case
	d    *director
	now  clock.Time
	last map[string][]byte // the last IP packet out on c and r, and in on c< and r<
	mtu  int               // the smallest of the director's interfaces
}

// write makes a case; a fault in the author's lines is a programming error.
func write(name string, seed uint64, f func(a *author)) wire.Case {
	d, err := newDirector()
	if err != nil {
		panic(err)
	}
	a := &author{Rand: rand.New(rand.NewPCG(seed, 0x636f6e666f726d)), c: wire.Case{Name: name}, d: d, last: map[string][]byte{}, mtu: 1500}
	f(a)
	return a.c
}

// add plays a step and keeps it.
func (a *author) add(s wire.Step) wire.Outcome {
	o, err := a.d.step(&s, a.now)
	if err != nil {
		panic(fmt.Sprintf("case %s: %s: %v", a.c.Name, s.Text, err))
	}
	for _, f := range o.Sent {
		a.last[f.Side] = f.Data[14:]
	}
	a.now += clock.Millisecond + clock.Time(s.Wait)*clock.Millisecond
	if len(s.Command) > 0 {
		a.now += 30 * clock.Millisecond // a process in the guest
	}
	a.c.Steps = append(a.c.Steps, s)
	return o
}

// run is a command.
func (a *author) run(format string, args ...any) wire.Outcome {
	line := fmt.Sprintf(format, args...)
	w, err := replay.Words(line)
	if err != nil {
		panic(err)
	}
	return a.add(wire.Step{Text: line, Command: w})
}

// in puts a packet, or its fragments, on a wire.
func (a *author) in(side, format string, args ...any) wire.Outcome {
	line := fmt.Sprintf(format, args...)
	s, err := frame.Parse(strings.Fields(line))
	if err != nil {
		panic(fmt.Sprintf("case %s: %s: %v", a.c.Name, line, err))
	}
	packets, err := s.Packets(a.last)
	if err != nil {
		panic(fmt.Sprintf("case %s: %s: %v", a.c.Name, line, err))
	}
	return a.put(side, line, packets)
}

// put puts IP packets on a wire.
func (a *author) put(side, text string, packets [][]byte) wire.Outcome {
	s := wire.Step{Text: "in " + side + " " + text, Side: side}
	for _, ip := range packets {
		if len(ip) > 1500 {
			panic(fmt.Sprintf("case %s: %s: %d bytes", a.c.Name, text, len(ip)))
		}
		dst, src := wire.OuterMAC, wire.ClientMAC
		if side == "r" {
			dst, src = wire.InnerMAC, sourceMAC(ip)
		}
		s.Frames = append(s.Frames, frame.Ethernet(dst, src, ip))
		a.last[side+"<"] = slices.Clone(ip)
	}
	return a.add(s)
}

// sourceMAC is that of the server that a packet comes from, the first one's if it comes from none.
func sourceMAC(ip []byte) [6]byte {
	src, _ := endpoints(ip)
	for i := 1; i <= wire.Servers; i++ {
		if src == wire.Server(4, i) || src == wire.Server(6, i) {
			return wire.ServerMAC(i)
		}
	}
	return wire.ServerMAC(1)
}

// wait lets time pass, about as much as asked: kernel timers fire up to an eighth late, so a wait that ends near the end of
// a connection is made shorter or longer.
func (a *author) wait(ms int64) {
	limit := func(state string) int64 {
		switch state {
		case "ESTABLISHED", "ASSURED", "NONE":
			return 900
		case "UDP":
			return 300
		case "FIN_WAIT", "TIME_WAIT":
			return 120
		}
		return 60
	}
	for again, shorten := true, true; again; {
		again = false
		for _, c := range a.d.connections() {
			left, late := int64(c.Expires)*1000, limit(c.State)*1000/8+4000
			if ms <= left-1500 || ms >= left+late {
				continue
			}
			if again = true; shorten && left > 2000 {
				ms = left - 1600
				continue
			}
			shorten, ms = false, left+late
		}
	}
	a.add(wire.Step{Text: fmt.Sprintf("wait %d ms", ms), Wait: ms})
}

// dump compares the tables.
func (a *author) dump() {
	a.run("ipvsadm -L -n -c")
	a.run("ipvsadm -L -n")
}

// details compares the listings that few look at.
func (a *author) details() {
	a.run("ipvsadm -L -n --thresholds")
	a.run("ipvsadm -L -n --persistent-conn")
}

// end compares what is there at the end, and what was counted.
func (a *author) end() {
	a.dump()
	a.run("ipvsadm -S -n")
	a.wait(4500) // the kernel adds its counters up every two seconds
	a.run("ipvsadm -L -n --stats --exact")
}

// conversation is a connection of a case: who speaks to whom.
type conversation struct {
	proto           string
	client, virtual netip.AddrPort
	server          netip.AddrPort // in NAT: where replies come from
	nat             bool
	number          int // of the server by its MAC, 0: none was chosen
}

// begin sends a connection's first packet and finds out where it went.
func (a *author) begin(proto string, client, virtual netip.AddrPort, more string) *conversation {
	c := &conversation{proto: proto, client: client, virtual: virtual}
	o := a.in("c", "%s %s > %s %s %s", proto, client, virtual, map[string]string{"tcp": "S", "udp": "len=8", "sctp": "chunk=1"}[proto], more)
	c.learn(&o)
	return c
}

// learn looks where the director sent the packet.
func (c *conversation) learn(o *wire.Outcome) {
	for _, f := range o.Sent {
		if f.Side != "r" {
			continue
		}
		for i := 1; i <= wire.Servers; i++ {
			if [6]byte(f.Data[:6]) == wire.ServerMAC(i) {
				c.number = i
			}
		}
		ip := f.Data[14:]
		_, dst := endpoints(ip)
		if proto, at := transport(ip); dst != c.virtual.Addr() && proto == map[string]uint8{"tcp": 6, "udp": 17, "sctp": 132}[c.proto] && !tunnelled(ip) {
			c.nat = true
			c.server = netip.AddrPortFrom(dst, uint16(ip[at+2])<<8|uint16(ip[at+3]))
		}
		return
	}
}

// tunnelled tells whether the director made the packet's outermost header.
func tunnelled(ip []byte) bool {
	src, _ := endpoints(ip)
	return own(src)
}

// up is a packet of the client's.
func (a *author) up(c *conversation, more string) wire.Outcome {
	return a.in("c", "%s %s > %s %s", c.proto, c.client, c.virtual, more)
}

// down is a packet of the server's, if it comes by way of the director.
func (a *author) down(c *conversation, more string) {
	if c.nat {
		a.in("r", "%s %s > %s %s", c.proto, c.server, c.client, more)
	}
}

// open goes on to the established connection.
func (a *author) open(client, virtual netip.AddrPort) *conversation {
	c := a.begin("tcp", client, virtual, "")
	if c.number == 0 {
		return c
	}
	a.down(c, "SA seq=5000 ack=1001")
	a.up(c, "A seq=1001 ack=5001")
	return c
}

// close closes from both sides.
func (a *author) close(c *conversation) {
	a.up(c, "FA seq=1001 ack=5001")
	a.down(c, "FA seq=5001 ack=1002")
	a.up(c, "A seq=1002 ack=5002")
}

// client is one of many.
func client(family, i int, port uint16) netip.AddrPort {
	if family == 6 {
		return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:c::%x", 1+i)), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)}), port)
}

// flag is a protocol as ipvsadm's option.
func flag(proto string) string {
	return map[string]string{"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}[proto]
}
