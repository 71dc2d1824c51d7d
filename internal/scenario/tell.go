package scenario

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/fastlb/fastlb/internal/scenario/frame"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/perf"
)

// describe tells what was sent in answer to the packets given.
func (p *play) describe(received [][]byte) {
	made := len(p.connections()) - len(p.before)
	for i := range p.sent {
		text := p.frameText(&p.sent[i], received)
		if i == 0 && made > 0 {
			where, rest, more := strings.Cut(text, ": ")
			where += fmt.Sprintf(" new %d", made)
			where = strings.TrimSuffix(where, " 1")
			text = where
			if more {
				text += ": " + rest
			}
		}
		p.events = append(p.events, text)
	}
	if made > 0 && len(p.sent) == 0 {
		p.events = append(p.events, "new")
	}
	p.sent = nil
}

var numbers = regexp.MustCompile(`:\d+| id=\d+| csum=[0-9a-f]+`)

// folded writes results that follow each other and differ in ports and ids alone once, with their number.
func folded(events []string) (out []string) {
	shape := func(i int) string { return numbers.ReplaceAllString(events[i], "") }
	for i := 0; i < len(events); {
		n := 1
		for i+n < len(events) && shape(i+n) == shape(i) {
			n++
		}
		text := events[i]
		if n > 1 {
			text += fmt.Sprintf(" ×%d", n)
		}
		out = append(out, text)
		i += n
	}
	return out
}

// frameText tells where a frame went, and what it is unless it is one of the packets received, one hop older.
func (p *play) frameText(s *sent, received [][]byte) string {
	ip := network(s.data)
	text := s.iface + " to " + p.neighborName([6]byte(s.data[:6]), ip)
	if tag := tagText(s.data); tag != "" {
		text += " " + tag
	}
	p.known["out"] = slices.Clone(ip)
	for _, r := range received {
		if bytes.Equal(older(r), ip) {
			return text
		}
	}
	text += ": " + frame.Packet(ip)
	if t := frame.Text(ip); t != "" {
		text += fmt.Sprintf(" %q", t)
	}
	return text
}

func tagText(f []byte) string {
	if len(f) > 16 && f[12] == 0x81 && f[13] == 0 {
		return fmt.Sprintf("vlan=%d", (int(f[14])<<8|int(f[15]))&0xfff)
	}
	return ""
}

// neighborName is the neighbour with a MAC: the one that the packet is addressed to, else the first of its family.
func (p *play) neighborName(mac [6]byte, ip []byte) string {
	var names []netip.Addr
	v6 := len(ip) > 0 && ip[0]>>4 == 6
	for a, m := range p.site.Neighbors {
		if m == mac && a.Is6() == v6 {
			names = append(names, a)
		}
	}
	if len(names) == 0 {
		return fmt.Sprintf("%x", mac)
	}
	slices.SortFunc(names, netip.Addr.Compare)
	return names[0].String()
}

// older is an IP packet with its TTL or hop limit less one.
func older(ip []byte) []byte {
	ip = slices.Clone(ip)
	switch {
	case len(ip) >= 20 && ip[0]>>4 == 4:
		packet.DecrementTTL(ip)
	case len(ip) >= 40:
		ip[7]--
	}
	return ip
}

// tell adds what was sent and not told yet, and the reasons that were counted.
func (p *play) tell() {
	for i := range p.sent {
		p.events = append(p.events, p.frameText(&p.sent[i], nil))
	}
	now := p.e.Reasons()
	for r := perf.Reason(1); int(r) < perf.Reasons; r++ {
		n := now[r] - p.reasons[r]
		if n == 0 {
			continue
		}
		p.met[r.String()] = true
		word := "dropped"
		name := r.String()
		if r.IsPass() {
			word, name = "passed", strings.TrimPrefix(name, "pass_")
		}
		text := word + " " + name
		if n > 1 {
			text += fmt.Sprintf(" %d", n)
		}
		p.events = append(p.events, text)
	}
}
