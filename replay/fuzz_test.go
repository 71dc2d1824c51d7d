package replay

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/scenario/frame"
	"github.com/fastlb/fastlb/neigh"
)

// fuzzSite is a director with a service of every method, both families.
func fuzzSite(t testing.TB, workers int) *Engine {
	t.Helper()
	e, err := New(Options{
		Workers: workers, Capacity: 64, Servers: 64, frames: 512,
		Network: neigh.StaticConfig{
			Interfaces: []neigh.StaticInterface{
				{Name: "eth0", MAC: macA, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}},
				{Name: "eth0.7", Parent: "eth0", VLAN: 7, MTU: 600, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
			},
			Neighbors: map[netip.Addr][6]byte{
				netip.MustParseAddr("192.0.2.254"): macB, netip.MustParseAddr("10.0.0.11"): macB,
				netip.MustParseAddr("2001:db8::11"): macB, netip.MustParseAddr("2001:db8::fe"): macB,
			},
			Routes: []neigh.StaticRoute{
				{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.254")},
				{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("2001:db8::fe")},
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"-A -t 192.0.2.10:80 -s rr", "-a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m",
		"-A -u 192.0.2.10:53 -s wlc", "-a -u 192.0.2.10:53 -r 10.0.0.11 -g", "-a -u 192.0.2.10:53 -r 10.0.0.99 -m",
		"-A -u 192.0.2.10:54 -s sh", "-a -u 192.0.2.10:54 -r 10.0.0.11 -i", "-a -u 192.0.2.10:54 -r [2001:db8::11]:54 -i",
		"-A -t 192.0.2.10:21 -s rr -p 60", "-a -t 192.0.2.10:21 -r 10.0.0.11 -m",
		"-A -t [2001:db8::10]:80 -s rr", "-a -t [2001:db8::10]:80 -r [2001:db8::11]:80 -m",
		"-A -u [2001:db8::10]:53 -s lc", "-a -u [2001:db8::10]:53 -r [2001:db8::11]:53 -i", "-a -u [2001:db8::10]:53 -r 10.0.0.11:53 -i",
	} {
		var out strings.Builder
		if status := e.Ipvsadm(strings.Fields(line), &out, &out); status != 0 {
			t.Fatalf("ipvsadm %s: %d %s", line, status, out.String())
		}
	}
	return e
}

// plausible addresses a frame to the director and mends its IPv4 header's checksum: without that mutations end early.
func plausible(f []byte) []byte {
	f = slices.Clone(f)
	copy(f, macA[:])
	off := 14
	if len(f) > 18 && f[12] == 0x81 {
		off = 18
	}
	if len(f) >= off+20 && f[off]>>4 == 4 {
		h := f[off:min(len(f), off+int(f[off]&15)*4)]
		if len(h) >= 20 {
			h[10], h[11] = 0, 0
			c := frame.Checksum(h, 0)
			h[10], h[11] = byte(c>>8), byte(c)
		}
	}
	return f
}

// FuzzReceive: no sequence of frames makes the dataplane panic, lose a frame or keep a connection past its time.
func FuzzReceive(f *testing.F) {
	var all []byte
	add := func(at byte, frame []byte) {
		all = append(append(all, at, byte(len(frame)>>8), byte(len(frame))), frame...)
	}
	for i, line := range []string{
		"tcp 198.51.100.7:1 > 192.0.2.10:80 S", "tcp 198.51.100.7:1 > 192.0.2.10:80 A len=900", "tcp 10.0.0.11:8080 > 198.51.100.7:1 SA vlan=7",
		"tcp 198.51.100.7:1 > 192.0.2.10:80 A len=900 df", "udp 198.51.100.7:1 > 192.0.2.10:53 len=1200 frag=400", "udp 198.51.100.7:1 > 192.0.2.10:54 len=8",
		"udp 198.51.100.7:2 > 192.0.2.10:54 len=1000 frag=400 reverse", "tcp 198.51.100.7:1 > 192.0.2.10:21 S", "tcp 198.51.100.7:1 > 192.0.2.10:80 S ttl=1",
		"tcp [2001:db8:7::1]:1 > [2001:db8::10]:80 S exthdr=2", "udp [2001:db8:7::1]:1 > [2001:db8::10]:53 len=1000 frag=400",
		"udp [2001:db8:7::2]:1 > [2001:db8::10]:53 len=8", "icmp 198.51.100.7 > 192.0.2.10", "esp 198.51.100.7 > 192.0.2.10",
	} {
		s, err := frame.Parse(strings.Fields(line))
		if err != nil {
			f.Fatal(err)
		}
		frames, err := s.Frames(macA, macB, nil)
		if err != nil {
			f.Fatal(err)
		}
		all = all[:0]
		for _, x := range frames {
			add(byte(i*20), x)
		}
		f.Add(append([]byte(nil), all...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := fuzzSite(t, 1+len(b)%3)
		now := clock.Time(0)
		for len(b) > 3 {
			n := min(int(b[1])<<8|int(b[2]), len(b)-3)
			now += clock.Time(b[0]) * clock.Second / 4
			e.Receive("", now, plausible(b[3:3+n]))
			b = b[3+n:]
		}
		e.Advance(now + 2000*clock.Second)
		if n := e.flows.Len(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		for i, l := range e.lanes {
			if l.frames.Len() != l.frames.Cap() {
				t.Errorf("worker %d: %d of %d frames are left", i, l.frames.Len(), l.frames.Cap())
			}
		}
		list, err := e.local().Services()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			for _, d := range s.Servers {
				if d.Active != 0 || d.Inactive != 0 || d.Persistent != 0 {
					t.Errorf("%v: %v still counts %d, %d, %d", s.Spec.ID, d.Spec.ServerID, d.Active, d.Inactive, d.Persistent)
				}
			}
		}
	})
}
