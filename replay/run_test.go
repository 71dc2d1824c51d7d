package replay_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/capture"
	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/scenario/frame"
	"github.com/fastlb/fastlb/replay"
)

const siteYAML = `
interfaces:
  - {name: front, mac: "02:00:00:00:00:01", addresses: [192.0.2.1/24]}
  - {name: back, mac: "02:00:00:00:00:02", addresses: [10.0.0.1/24]}
  - {name: back.7, parent: back, vlan: 7, addresses: [10.7.0.1/24]}
services:
  - {address: "192.0.2.10:80", protocol: tcp, scheduler: rr, forward: nat, servers: [{address: "10.0.0.11:80"}, {address: "10.7.0.12:80"}]}
  - {address: "192.0.2.10:53", protocol: udp, scheduler: rr, forward: dr, servers: [{address: "10.0.0.99:53"}]}
neighbors: {192.0.2.254: "02:00:00:00:00:fe", 10.0.0.11: "02:00:00:00:01:11", 10.7.0.12: "02:00:00:00:01:12"}
routes: [{to: 0.0.0.0/0, via: 192.0.2.254}]
`

// seen is a captured frame: the line it is built from and what it came out as.
type seen struct {
	at    clock.Time
	iface string
	line  string
}

// bench is a directory with the files of one run.
type bench struct {
	t   *testing.T
	dir string
	f   replay.Files
}

func newBench(t *testing.T, yaml string, frames ...seen) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir()}
	cfg, err := config.Parse("test.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	b.f = replay.Files{Config: cfg, Read: b.path("in.pcapng"), Write: b.path("out.pcapng"), Summary: b.path("sum.json"), Connections: b.path("conns")}
	var out bytes.Buffer
	names := []string{"front", "back", "back.7", "elsewhere", ""}
	w, err := capture.NewWriter(&out, names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range frames {
		s, err := frame.Parse(strings.Fields(x.line))
		if err != nil {
			t.Fatal(err)
		}
		mac := [6]byte{2, 0, 0, 0, 0, 1}
		if strings.HasPrefix(x.iface, "back") {
			mac[5] = 2
		}
		all, err := s.Frames(mac, [6]byte{2, 0, 0, 0, 0, 0xfe}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if err := w.Write(slices.Index(names, x.iface), x.at, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.write("in.pcapng", out.String())
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// sent reads the capture that was written: time, interface, packet.
func (b *bench) sent() (all []seen) {
	b.t.Helper()
	r, err := capture.NewReader(strings.NewReader(b.read("out.pcapng")))
	for err == nil {
		var p capture.Packet
		if err = r.Next(&p); err == nil {
			all = append(all, seen{p.Time, p.Interface, frame.Describe(p.Data)})
		}
	}
	if !errors.Is(err, io.EOF) {
		b.t.Fatal(err)
	}
	return all
}

func (b *bench) run() string {
	b.t.Helper()
	var out bytes.Buffer
	if err := replay.Run(b.f, &out); err != nil {
		b.t.Fatal(err)
	}
	return out.String()
}

func TestRun(t *testing.T) {
	b := newBench(t, siteYAML,
		seen{0, "front", "tcp 198.51.100.7:1 > 192.0.2.10:80 S"},
		seen{1, "", "tcp 198.51.100.7:2 > 192.0.2.10:80 S"}, // no name: the first interface
		seen{2, "back.7", "tcp 10.7.0.12:80 > 198.51.100.7:1 SA"},
		seen{3, "back", "tcp 10.7.0.12:80 > 198.51.100.7:1 A vlan=7"},
		seen{4, "elsewhere", "tcp 198.51.100.7:3 > 192.0.2.10:80 S"},
		seen{5, "front", "udp 198.51.100.7:9 > 192.0.2.10:53 len=8"},
		seen{3*clock.Second + 5, "front", "icmp 198.51.100.7 > 192.0.2.10"},
		seen{3*clock.Second + 6, "front", "tcp 198.51.100.7:4 > 192.0.2.10:80 A cut=30"},
	)
	b.f.Commands = b.path("cmds")
	b.write("cmds", "# what was there\n0.000000001 ipvsadm -L -n -t 192.0.2.10:80\n30 ipvsadm -D -u 192.0.2.10:54\n30 tunable nosuch 1\n30 interface front mtu 1400\n30 neighbor 10.0.0.99 02:00:00:00:01:99\n")
	stdout := b.run()
	want := []seen{
		{0, "back", "020000000002>020000000112 vlan=7 tcp 198.51.100.7:1 > 10.7.0.12:80 S seq=1000 ack=0 (ttl=63 tos=0 id=4660 len=40)"},
		{1, "back", "020000000002>020000000111 tcp 198.51.100.7:2 > 10.0.0.11:80 S seq=1000 ack=0 (ttl=63 tos=0 id=4660 len=40)"},
		{2, "front", "020000000001>0200000000fe tcp 192.0.2.10:80 > 198.51.100.7:1 SA seq=1000 ack=0 (ttl=63 tos=0 id=4660 len=40)"},
		{3, "front", "020000000001>0200000000fe tcp 192.0.2.10:80 > 198.51.100.7:1 A seq=1000 ack=0 (ttl=63 tos=0 id=4660 len=40)"},
		{3*clock.Second + 5, "front", "020000000001>0200000000fe icmp1 192.0.2.10 > 198.51.100.7 type=3 code=1 rest=00000000 (ttl=64 tos=192 id=1 len=64) " +
			"[udp 198.51.100.7:9 > 192.0.2.10:53 ulen=16 csum=7dbd (ttl=63 tos=0 id=4660 len=36)]"},
	}
	if got := b.sent(); !slices.Equal(trimSums(got), trimSums(want)) {
		t.Errorf("sent\n%v\nwant\n%v", got, want)
	}
	if want := `@ 0.000000001 ipvsadm -L -n -t 192.0.2.10:80
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.0.2.10:80 rr
  -> 10.0.0.11:80                 Masq    1      0          0         
  -> 10.7.0.12:80                 Masq    1      1          0         
@ 30 ipvsadm -D -u 192.0.2.10:54
`; !strings.HasPrefix(stdout, want) {
		t.Errorf("printed\n%s\nwant\n%s", stdout, want)
	}
	for _, x := range []string{"= 255\n@ 30 tunable nosuch 1\n", "= 1\n@ 30 interface front mtu 1400\n@ 30 neighbor"} {
		if !strings.Contains(stdout, x) {
			t.Errorf("printed\n%s\nwithout %q", stdout, x)
		}
	}
	var s replay.Summary
	if err := json.Unmarshal([]byte(b.read("sum.json")), &s); err != nil {
		t.Fatal(err)
	}
	if s.Received != 8 || s.Sent != 5 || s.Passed != 2 || s.Dropped["no_neighbor"] != 1 || s.Dropped["runt"] != 1 || len(s.Dropped) != 2 {
		t.Errorf("summary %+v", s)
	}
	if v := s.Services[0]; v.Service != "192.0.2.10:80" || v.Protocol != "tcp" || v.Conns != 2 || v.OutPkts != 2 || v.InBytes != 80 ||
		v.Servers[1].Server != "10.7.0.12:80" || v.Servers[1].Active != 1 || s.Connections != 3 {
		t.Errorf("summary %+v", s)
	}
	if want := "TCP 14:30  ESTABLISHED 198.51.100.7:1     192.0.2.10:80      10.7.0.12:80\n"; !strings.Contains(b.read("conns"), want) {
		t.Errorf("connections\n%s\nwithout\n%s", b.read("conns"), want)
	}
}

// trimSums leaves out what the test does not want to know.
func trimSums(all []seen) []seen {
	out := slices.Clone(all)
	for i := range out {
		if a, b, ok := strings.Cut(out[i].line, "csum="); ok {
			out[i].line = a + b[4:]
		}
	}
	return out
}

// TestSameBytes runs one input twice, and once with several workers: same bytes, and the same frames.
func TestSameBytes(t *testing.T) {
	var in []seen
	for i := range 200 {
		in = append(in, seen{clock.Time(i) * clock.Millisecond, "front", "tcp 198.51.100." + string(rune('1'+i%9)) + ":7 > 192.0.2.10:80 S"})
		if i%10 == 0 {
			in = append(in, seen{clock.Time(i) * clock.Millisecond, "front", "udp 198.51.100.7:53 > 192.0.2.10:80 len=3000 frag=1480"})
		}
	}
	files := func(workers int) string {
		b := newBench(t, siteYAML, in...)
		b.f.Workers = workers
		b.run()
		return b.read("out.pcapng") + b.read("sum.json") + b.read("conns")
	}
	one := files(1)
	if one != files(1) {
		t.Error("another run, other bytes")
	}
	five := files(5)
	if five != files(5) {
		t.Error("five workers: another run, other bytes")
	}
	if len(one) != len(five) {
		t.Error("five workers sent something else than one")
	}
}

// TestNothingHalfWritten: a run that fails leaves no file, and old ones as they were.
func TestNothingHalfWritten(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b *bench)
		text   string
	}{
		{"capture cut short", func(b *bench) { s := b.read("in.pcapng"); b.write("in.pcapng", s[:len(s)-5]) }, "at byte"},
		{"no capture", func(b *bench) { b.write("in.pcapng", "hello, I am no capture") }, "neither pcap nor pcapng"},
		{"absent", func(b *bench) { b.f.Read = b.path("absent") }, "no such file"},
		{"bad command file", func(b *bench) {
			b.f.Commands = b.path("cmds")
			b.write("cmds", "0 ipvsadm -C\n1 frobnicate\n")
		}, "line 2: no command"},
		{"output in no directory", func(b *bench) { b.f.Summary = b.path("no/such/dir") }, "--summary"},
		{"output is a directory", func(b *bench) { b.f.Connections = b.dir }, "is a directory"},
		{"no mac", func(b *bench) { b.f.Config.Interfaces[0].MAC = [6]byte{} }, "no mac"},
	} {
		b := newBench(t, siteYAML, seen{0, "front", "tcp 198.51.100.7:1 > 192.0.2.10:80 S"}, seen{1, "front", "tcp 198.51.100.7:1 > 192.0.2.10:80 A"})
		b.write("out.pcapng", "as it was")
		c.damage(b)
		before := listing(t, b.dir)
		err := replay.Run(b.f, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", c.name, err, c.text)
		}
		if after := listing(t, b.dir); !slices.Equal(before, after) || b.read("out.pcapng") != "as it was" {
			t.Errorf("%s: left %v, there was %v", c.name, after, before)
		}
	}
}

func listing(t *testing.T, dir string) (names []string) {
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// TestEmpty: nothing in gives a capture with nothing in it, and time runs on to the last command.
func TestEmpty(t *testing.T) {
	b := newBench(t, siteYAML)
	b.f.Commands = b.path("cmds")
	b.write("cmds", "1700000000 ipvsadm -L --timeout\n0 ipvsadm -L --timeout\n")
	if out := b.run(); out != "@ 0 ipvsadm -L --timeout\nTimeout (tcp tcpfin udp): 900 120 300\n@ 1700000000 ipvsadm -L --timeout\nTimeout (tcp tcpfin udp): 900 120 300\n" {
		t.Errorf("printed %q", out)
	}
	if got := b.sent(); len(got) != 0 {
		t.Errorf("sent %v", got)
	}
	if !strings.Contains(b.read("sum.json"), `"received": 0`) {
		t.Error(b.read("sum.json"))
	}
}

// TestBackwardsTime: a frame older than the one before is answered with its own time, and the clock stays.
func TestBackwardsTime(t *testing.T) {
	b := newBench(t, siteYAML, seen{10 * clock.Second, "front", "tcp 198.51.100.7:1 > 192.0.2.10:80 S"}, seen{9 * clock.Second, "front", "tcp 198.51.100.7:1 > 192.0.2.10:80 S"})
	b.run()
	if got := b.sent(); len(got) != 2 || got[0].at != 10*clock.Second || got[1].at != 9*clock.Second {
		t.Errorf("sent %v", got)
	}
	if !strings.Contains(b.read("conns"), "TCP 01:00  SYN_RECV") {
		t.Error(b.read("conns"))
	}
}
