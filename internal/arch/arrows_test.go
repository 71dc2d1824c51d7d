package arch

import (
	"slices"
	"strings"
	"testing"
)

// leaves may be imported from anywhere but from each other, except as arrows says.
var leaves = []string{"packet", "service", "perf", "internal/clock", "internal/store"}

// arrows are the allowed imports within the module: package → what it may import besides the leaves. Nothing points up.
// docs/architecture.md draws it. A package that is missing here fails the test: give it a row.
var arrows = map[string][]string{
	// leaves: the standard library and x/sys alone
	"internal/clock": {},
	"internal/store": {},
	"perf":           {},
	"packet":         {},
	"service":        {"packet", "internal/clock", "perf", "internal/store"},
	"numa":           {},

	// parts below the worker
	"ring":          {"numa"},
	"ring/ringtest": {"ring"},
	"flow":          {},
	"sched":         {},
	"modes":         {},
	"neigh":         {},
	"neigh/follow":  {"neigh"}, // the netlink half, kept out of neigh so that neigh is pure
	"capture":       {},
	"xdp":           {"ring"},
	"tune":          {"numa"},

	// the hot path
	"worker": {"ring", "flow", "sched", "modes", "neigh", "numa"},

	// desired state, without goroutine, socket or clock: shared by the live director and by replay (decision 0002)
	"control": {"flow", "sched", "worker", "neigh", "modes"},

	// control path
	"ipvsadm":  {"control"},
	"config":   {"control", "neigh", "ipvsadm"}, // rules may be given as ipvsadm -S prints them
	"replay":   {"worker", "capture", "config", "control", "neigh", "flow", "sched", "ring", "ipvsadm", "internal/scenario", "internal/scenario/frame"},
	"director": {"worker", "xdp", "config", "control", "neigh", "neigh/follow", "flow", "sched", "ring", "numa", "tune", "capture", "ipvsadm"},
	"api":      {"director", "control", "ipvsadm", "config"},
	"metrics":  {"director", "control"},
	"lab":      {"api", "config", "ipvsadm", "control"}, // talks to the director as any client does
	"bench":    {"worker", "ring", "ring/ringtest", "flow", "sched", "neigh", "numa", "control", "modes"},

	// tests' tools
	"e2e":                     {"lab"}, // sees the director from the outside alone
	"e2e/zerocopy":            {"lab", "internal/vm"},
	"e2e/zerocopy/guest":      {"lab", "internal/vm", "internal/vm/guest"},
	"internal/vm":             {},
	"internal/vm/guest":       {"internal/vm"},
	"internal/arch":           {},
	"internal/twin":           {"neigh"}, // independence: none of the code that it judges (its tests import that)
	"internal/scenario":       {"replay", "control", "config", "ipvsadm", "internal/scenario/frame", "neigh", "worker"},
	"internal/scenario/frame": {},

	// tools
	"perf/genreason":    {},
	"conformance":       {"conformance/wire", "internal/vm", "replay", "control", "neigh", "internal/scenario/frame"},
	"conformance/run":   {"conformance", "conformance/wire"},
	"conformance/guest": {"conformance/wire", "internal/vm/guest"}, // what it records owes nothing to the code that is judged
	"conformance/wire":  {},
}

// TestArrows compares every import of the tree with the table.
func TestArrows(t *testing.T) {
	for _, p := range tree(t) {
		name := p.short()
		if strings.HasPrefix(name, "cmd/") { // the entry may import anything
			continue
		}
		may, listed := arrows[name]
		if below := strings.Split(name, "/"); !listed && below[0] == "lab" {
			may, listed = arrows["lab"], true
		}
		if !listed {
			t.Errorf("package %s has no row in the table of arrows: add it, with a decision if it is a new kind of part", name)
			continue
		}
		for _, i := range p.Imports {
			to, ours := strings.CutPrefix(i, module+"/")
			if !ours || slices.Contains(may, to) || strings.HasPrefix(to, name+"/") {
				continue
			}
			if slices.Contains(leaves, to) && !slices.Contains(leaves, name) && name != "numa" {
				continue
			}
			t.Errorf("%s imports %s, which the table of arrows does not allow", name, to)
		}
	}
	for name := range arrows {
		if !slices.ContainsFunc(tree(t), func(p pkg) bool { return p.short() == name }) {
			t.Logf("the table of arrows has a row for %s, which does not exist", name)
		}
	}
}

// bans are packages that others must not reach, even by way of a third.
var bans = []struct {
	from []string // packages of the module
	not  string   // a package or, ending in "/", everything below
	why  string
}{
	{below, "go.uber.org/zap", "the dataplane speaks through counters and the event ring (S24)"},
	{below, "github.com/prometheus/", "metrics are read from the outside"},
	{below, "net/http", "no service runs in the dataplane"},
	{below, "log", "no global loggers (S24)"},
	{below, "log/slog", "no global loggers (S24)"},
	{below, "encoding/json", "the dataplane knows no text formats"},
	{below, "github.com/gopacket/gopacket", "gopacket allocates for each packet: capture files and tests only"},
	{below, "github.com/goccy/go-yaml", "configuration ends in config"},
	{below, "gopkg.in/yaml.v3", "configuration ends in config"},
	{below, "os/exec", "nothing is run"},
	{[]string{"control", "replay"}, "net/http", "desired state and replay have no sockets"},
	{[]string{"control"}, "go.uber.org/zap", "errors say it"},
	{[]string{"packet", "flow", "sched", "modes", "service", "neigh", "worker", "control"}, "github.com/vishvananda/netlink", "the kernel is followed by neigh/follow"},
	{[]string{"lab"}, module + "/director", "the lab speaks to the director through its API, as a user would"},
	{[]string{"doctor"}, module + "/director", "the doctor speaks to the director through its API, as a user would"},
	{[]string{"internal/twin"}, module + "/modes", "the twin must not share the code that it judges"},
	{[]string{"internal/twin"}, module + "/worker", "the twin must not share the code that it judges"},
	{[]string{"internal/twin"}, module + "/flow", "the twin must not share the code that it judges"},
	{[]string{"internal/twin"}, module + "/sched", "the twin must not share the code that it judges"},
}

// below are the hot path and the parts under it.
var below = []string{"internal/clock", "internal/store", "packet", "service", "perf", "numa", "ring", "flow", "sched", "modes", "neigh", "worker"}

// TestBans follows imports through third packages.
func TestBans(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range tree(t) {
		seen[p.short()] = true
		for _, b := range bans {
			if !slices.Contains(b.from, p.short()) {
				continue
			}
			for _, d := range p.Deps {
				if d == b.not || strings.HasSuffix(b.not, "/") && strings.HasPrefix(d, b.not) {
					t.Errorf("%s depends on %s: %s", p.short(), d, b.why)
				}
			}
		}
	}
	for _, name := range below {
		if !seen[name] {
			t.Errorf("package %s, which the bans name, does not exist", name)
		}
	}
}
