package replay_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/capture"
	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/internal/scenario/frame"
	"github.com/fastlb/fastlb/replay"
)

var update = flag.Bool("update", false, "write the example's capture anew")

// exampleFrames are what docs/examples/replay/in.pcapng holds.
var exampleFrames = []seen{
	{0, "eth0", "tcp 198.51.100.7:40000 > 192.0.2.10:80 S"},
	{clock.Second / 1000, "eth0", "tcp 10.0.0.12:8080 > 198.51.100.7:40000 SA ack=1001"},
	{clock.Second / 500, "eth0", "tcp 198.51.100.7:40000 > 192.0.2.10:80 A seq=1001 ack=1001"},
	{2 * clock.Second, "eth0", "tcp 198.51.100.8:40000 > 192.0.2.10:80 S"},
	{2*clock.Second + 1, "eth0", "tcp 198.51.100.9:40000 > 192.0.2.10:80 S ttl=1"},
	{2*clock.Second + 2, "eth0", "icmp 198.51.100.9 > 192.0.2.10 type=8"},
}

// TestExample holds docs/replay.md to what its example really gives.
func TestExample(t *testing.T) {
	dir := filepath.FromSlash("../docs/examples/replay")
	var in bytes.Buffer
	w, err := capture.NewWriter(&in, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exampleFrames {
		s, err := frame.Parse(strings.Fields(x.line))
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.Frames([6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 0xfe}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(0, x.at, f[0]); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "in.pcapng")
	if *update {
		if err := os.WriteFile(name, in.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if old, err := os.ReadFile(name); err != nil || !bytes.Equal(old, in.Bytes()) {
		t.Errorf("%s is not what the test makes of it (%v): -update", name, err)
	}

	b := &bench{t: t, dir: t.TempDir()}
	cfg, err := config.Load(filepath.Join(dir, "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	b.f = replay.Files{
		Config: cfg, Read: name, Commands: filepath.Join(dir, "commands"),
		Write: b.path("out.pcapng"), Summary: b.path("summary.json"), Connections: b.path("connections.txt"),
	}
	stdout := b.run()
	var sent strings.Builder
	for _, x := range b.sent() {
		sent.WriteString(strings.TrimSpace(x.line) + "\n")
	}
	page, err := os.ReadFile(filepath.FromSlash("../docs/replay.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := unpadded(string(page))
	for what, want := range map[string]string{
		"what the commands print": stdout, "the summary": b.read("summary.json"), "what was sent": sent.String(),
		"the connections": b.read("connections.txt"), "the command file": b.readDoc(dir, "commands"), "the configuration": b.readDoc(dir, "site.yaml"),
	} {
		if !strings.Contains(text, unpadded(want)) {
			t.Errorf("docs/replay.md does not show %s:\n%s", what, want)
		}
	}
}

func (b *bench) readDoc(dir, name string) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// unpadded is a text without blanks at the ends of its lines.
func unpadded(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
