package worker

import (
	"sync/atomic"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// engineData is what the persistence engine of a service goes by in a packet: the Call-ID of a SIP message over UDP. nil:
// it finds nothing (spec/connections.md 6.4).
func engineData(k *pkt) []byte {
	if k.p.Kind != packet.Transport || k.key.Proto != packet.ProtoUDP || k.l4+8 >= k.end {
		return nil
	}
	return callID(k.buf[k.l4+8 : k.end])
}

// callID finds the value of the Call-ID header, or of its compact form i, in a SIP message; nil if there is none that can
// be used. It reads headers as the kernel does: the first line is never one; a line that begins with a blank belongs to
// the header before it; a name that is not followed by a colon ends the search; a value without a word is passed over.
func callID(b []byte) []byte {
	for from := 0; from < len(b); {
		at, n, found := callIDHeader(b, from)
		if !found {
			return nil
		}
		if n == 0 {
			from += at // recorded in sip/call-id
			continue
		}
		end := at + n
		if n > flow.MaxEngineData || end == len(b) || b[end] != '\r' && b[end] != '\n' {
			return nil
		}
		return b[at:end]
	}
	return nil
}

// callIDHeader looks for the header in the lines that begin after from, and gives its value's place and length, 0 for a
// value that is no Call-ID.
func callIDHeader(b []byte, from int) (at, n int, found bool) {
	for i := from; i < len(b); i++ {
		if b[i] != '\r' && b[i] != '\n' {
			continue
		}
		if i++; i < len(b) && b[i-1] == '\r' && b[i] == '\n' {
			i++
		}
		if i >= len(b) {
			break
		}
		name := callIDName(b[i:])
		if b[i] == ' ' || b[i] == '\t' || name == 0 {
			continue // at the line's second byte, which therefore does not count as a line's end
		}
		i, ok := skipBlank(b, i+name)
		if !ok || b[i] != ':' || i+1 >= len(b) {
			break
		}
		if i, ok = skipBlank(b, i+1); !ok {
			break
		}
		return i, callIDLen(b[i:]), true
	}
	return 0, 0, false
}

// callIDName is the length of the header's name at the beginning of b, 0 if there is another.
func callIDName(b []byte) int {
	const name = "call-id"
	if len(b) >= len(name) && equalFold(b[:len(name)], name) {
		return len(name)
	}
	if len(b) >= 2 && b[0]|0x20 == 'i' && !isLetter(b[1]) {
		return 1
	}
	return 0
}

func equalFold(b []byte, lower string) bool {
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// skipBlank goes over blanks, and over one line's end that a blank follows. False: there the message or the header ends.
func skipBlank(b []byte, i int) (int, bool) {
	blanks := func() {
		for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
			i++
		}
	}
	blanks()
	if i < len(b) && (b[i] == '\r' || b[i] == '\n') {
		if i++; i < len(b) && b[i-1] == '\r' && b[i] == '\n' {
			i++
		}
		if i >= len(b) || b[i] != ' ' && b[i] != '\t' {
			return i, false
		}
		blanks()
	}
	return i, i < len(b)
}

// callIDLen is the length of a Call-ID at the beginning of b: a word, or two with an @ between them (RFC 3261 25.1).
func callIDLen(b []byte) int {
	word := func(i int) int {
		for i < len(b) && isWord(b[i]) {
			i++
		}
		return i
	}
	n := word(0)
	if n == 0 || n == len(b) || b[n] != '@' {
		return n
	}
	end := word(n + 1)
	if end == n+1 {
		return 0
	}
	return end
}

// isLetter is the kernel's notion of a letter: ASCII's and Latin-1's.
func isLetter(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0xc0 && c != 0xd7 && c != 0xf7
}

// isWord tells whether a character may stand in a word (RFC 3261 25.1, and what the kernel takes besides).
func isWord(c byte) bool {
	switch c {
	case '!', '"', '%', '\'', '(', ')', '*', '+', '-', '.', '/', ':', '<', '>', '?', '[', '\\', ']', '_', '`', '{', '}', '~':
		return true
	}
	return isLetter(c) || '0' <= c && c <= '9'
}

// serverBegins takes a packet that a NAT server of a SIP service sends without a connection: it makes one, by the
// message's Call-ID, and the packet leaves as the service's own. That is how the answers to one-packet requests find
// their way too (spec/connections.md 6.4). False: the packet is none of that kind, and nothing has been done.
func (w *Worker) serverBegins(k *pkt) bool {
	if k.key.Proto != packet.ProtoUDP {
		return false
	}
	svc, server := w.snap.Services.EngineServer(k.key.Src, k.key.SrcPort)
	if svc == nil {
		return false
	}
	r := w.snap.Net.Route(k.key.Dst)
	if r.Kind == neigh.LocalAddr {
		return false
	}
	n := *k // as if the client had begun
	n.key = packet.Tuple{Src: k.key.Dst, SrcPort: k.key.DstPort, Dst: svc.VAddr, DstPort: svc.Port, Proto: k.key.Proto, Family: k.key.Family}
	var template flow.Ref
	if svc.Persistent {
		data := engineData(k)
		if data == nil {
			return false
		}
		if !w.routable(k, &r) {
			return true
		}
		key, _ := templateKey(&n, svc)
		if template = w.findTemplate(&key, data); template != 0 && (!w.usableTemplate(template) || w.flows.Conn(template).Server != server.Number) {
			w.invalidate(template)
			template = 0
		}
		if template == 0 {
			if template, _ = w.newTemplate(&key, svc, server, k.key.SrcPort, data); template == 0 {
				return false
			}
		}
	} else if !w.routable(k, &r) {
		return true
	}
	ref := w.connectAnew(&n, svc, server, k.key.SrcPort, template)
	if ref == 0 {
		return false
	}
	if template != 0 {
		t := w.flows.Conn(template)
		w.rearm(template, t, atomic.LoadInt64(&t.Timeout))
	}
	c := w.flows.Conn(ref)
	w.translate(k, ref, c, &r)
	w.forgetOnePacket(ref, c)
	return true
}

// connectAnew is connect, and replaces a connection of the client's with another server.
func (w *Worker) connectAnew(n *pkt, svc *service.Service, server *service.Server, dport uint16, template flow.Ref) flow.Ref {
	for range 2 {
		ref, _ := w.connect(n, svc, server, dport, template)
		c := w.flows.Conn(ref)
		if ref == 0 || c.Server == server.Number && c.DPort == dport || !w.remove(ref, c) {
			return ref
		}
	}
	return 0
}
