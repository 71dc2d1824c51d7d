package worker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/packet"
	"github.com/fastlb/fastlb/service"
)

// The kernel's own answers to most of these are recorded in sip/call-id (replay: TestGolden).
func TestCallID(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, c := range []struct{ message, want string }{
		{"INVITE x\r\nCall-ID: a@b\r\n\r\n", "a@b"},
		{"INVITE x\nCALL-id:a@b\n", "a@b"},
		{"INVITE x\rCall-ID\t:\t a@b\r", "a@b"},
		{"INVITE x\r\nCall-ID:\r\n a@b\r\n", "a@b"},
		{"INVITE x\r\nCall-ID\r\n : a@b\r\n", "a@b"},
		{"INVITE x\r\ni:a\r\n", "a"},
		{"INVITE x\r\nI :a\r\n", "a"},
		{"\r\ni:a\r\n", "a"},
		{"\r\n\r\ni:a\r\n", "a"},
		{"x\r\nIdentity: q\r\ni: a\r\n", "a"},
		{"x\r\nVia: y\r\n Call-ID: z\r\ni: a\r\n", "a"},
		{"x\r\nCall-ID: @\r\ni: a\r\n", "a"},
		{"x\r\nCall-ID: " + long + "\r\n", long},
		{"x\r\nCall-ID: " + long + "x\r\n", ""},
		{"x\r\nCall-ID: \xc4\xd6@\xfc\r\n", "\xc4\xd6@\xfc"},
		{"x\r\nCall-ID: a\xd7\r\n", ""},
		{"Call-ID: a\r\n", ""},
		{"x\r\nCall-ID: a", ""},
		{"x\r\nCall-ID: a b\r\n", ""},
		{"x\r\nCall-ID: a@\r\n", ""},
		{"x\r\nCall-ID: a@b@c\r\n", ""},
		{"x\r\nCall-ID:\r\n\r\n", ""},
		{"x\r\nCall-ID:\r\nVia: a\r\n", ""},
		{"x\r\nCall-IDs: a\r\ni: b\r\n", ""},
		{"x\r\nCall-ID", ""}, {"x\r\nCall-ID:", ""}, {"x\r\nCall-ID: ", ""}, {"x\r\ni", ""}, {"x\r\n", ""}, {"\r", ""}, {"", ""},
	} {
		if got := string(callID([]byte(c.message))); got != c.want {
			t.Errorf("%q: %q, want %q", c.message, got, c.want)
		}
	}
}

// FuzzCallID: what is found is a Call-ID in the message, on a header's line, and what stands before the message's own
// buffer or behind it is not looked at.
func FuzzCallID(f *testing.F) {
	for _, s := range []string{"INVITE x\r\nCall-ID: a@b\r\n\r\n", "\ni\r\n :\t\r\n a\n", "x\ri:@\ri:@\ri:a\r"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		exact := append([]byte{}, b...)
		exact = exact[:len(exact):len(exact)]
		id := callID(exact)
		longer := append(append([]byte{}, b...), "\r\ni: behind\r\n"...)
		if again := callID(longer[:len(b)]); !bytes.Equal(id, again) {
			t.Fatalf("%q, and with something behind %q", id, again)
		}
		if id == nil {
			return
		}
		at := cap(exact) - cap(id) // of the message, which it is a part of
		if len(id) < 1 || len(id) > 255 || at+len(id) >= len(exact) {
			t.Fatalf("%q is no Call-ID", id)
		}
		for i, c := range id {
			if !isWord(c) && (c != '@' || i == 0 || i == len(id)-1) {
				t.Fatalf("%q is no Call-ID", id)
			}
		}
		if bytes.Count(id, []byte("@")) > 1 || !bytes.ContainsAny(exact[:at], "\r\n") {
			t.Fatalf("%q is no Call-ID", id)
		}
	})
}

// Call-IDs whose hashes clash are told apart, whichever of them goes first.
func TestEngineClashes(t *testing.T) {
	r := newRig(t, 1)
	r.service(service.UDP, "10.9.0.1", 5060, service.NAT, "10.2.0.11")
	w := r.workers[0]
	w.Round(r.now)
	svc := *w.snap.Services.Services[0]
	svc.Engine, svc.Persistent, svc.Timeout = "sip", true, 60
	key := packet.Tuple{Src: ip("10.1.0.1"), Dst: ip("10.9.0.1"), DstPort: 5060, Proto: service.UDP, Family: 4}
	id := func(i int) []byte { return fmt.Appendf(nil, "call%d@h", i) }
	ports, refs := map[uint16]bool{}, []flow.Ref{}
	const calls = 1800
	for i := range calls {
		if w.findTemplate(&key, id(i)) != 0 {
			t.Fatalf("call %d is there before it was made", i)
		}
		ref, reason := w.newTemplate(&key, &svc, svc.Servers[0], 5060, id(i))
		if ref == 0 {
			t.Fatalf("call %d: %v", i, reason)
		}
		ports[enginePort(w.flows.HashEngineData(id(i)), 0)] = true
		refs = append(refs, ref)
	}
	if len(ports) == calls {
		t.Error("no hashes clash: more calls are needed")
	}
	for i := 0; i < calls; i += 2 {
		if !w.remove(refs[i], w.flows.Conn(refs[i])) {
			t.Fatalf("call %d cannot be removed", i)
		}
	}
	for i := range calls {
		want := refs[i]
		if i%2 == 0 {
			want = 0
		}
		if got := w.findTemplate(&key, id(i)); got != want {
			t.Errorf("call %d: found %d, want %d", i, got, want)
		}
	}
}
