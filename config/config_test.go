package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/config"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/service"
)

var update = flag.Bool("update", false, "rewrite the files that tests compare with")

// TestFaults compares every fault of each testdata/*.yaml, places included, with the .txt beside it.
func TestFaults(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.yaml")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, file := range files {
		_, err := config.Load(file)
		var faults config.Faults
		if !errors.As(err, &faults) {
			t.Errorf("%s: %v, want faults", file, err)
			continue
		}
		for _, f := range faults {
			if f.Line == 0 || f.Column == 0 {
				t.Errorf("%s: a fault without a place: %v", file, f)
			}
		}
		got := strings.ReplaceAll(err.Error(), "testdata/", "") + "\n"
		golden := strings.TrimSuffix(file, ".yaml") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", file, got, want)
		}
	}
}

// TestSyntax checks that YAML's own errors have their place too.
func TestSyntax(t *testing.T) {
	for text, want := range map[string]string{
		"log: [1\nb: 2\n":            "x.yaml:2:2: did not find expected ',' or ']'",
		"log: {level: info}\n---\na": "x.yaml:2:1: a second document: a configuration is one",
		"- 1\n":                      "x.yaml:1:1: a list where a mapping (key: value) belongs",
		"log: {<<: {level: info}}":   "x.yaml:1:7: log: keys are plain words; merge keys are not taken",
		"log: {}\nlog: {}\n":         "x.yaml:2:1: log: the key is already in line 1",
	} {
		if _, err := config.Parse("x.yaml", []byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEmpty checks that a file which says nothing is the default.
func TestEmpty(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "services:\nmarks: ~\n", "{}"} {
		if c := parse(t, text); !reflect.DeepEqual(c, config.Default()) {
			t.Errorf("%q: %+v", text, c)
		}
	}
	if err := config.Default().Validate(); err != nil {
		t.Error(err)
	}
}

// TestServices checks how services are understood, by the rules that they amount to.
func TestServices(t *testing.T) {
	c := parse(t, `
services:
  - address: "[2001:db8::10]:80"
    persistent: 5m
    persistent_mask: 64
    forward: tunnel
    servers:
      - 	{address: "[2001:db8::1]:80", tunnel: {type: gue, port: 6080, checksum: remcsum}}
      - {address: 10.0.0.1, weight: 7, tunnel: {type: gre, checksum: csum}}
      - {address: 2001:db8::2, forward: nat, upper_threshold: 9, lower_threshold: 3}
  - mark: 4294967295
    family: 6
    scheduler: mh
    scheduler_flags: [mh-port, mh-fallback]
    forward: nat
    servers: [{address: "[::2]:8080"}, {address: "::3"}]
  - address: 192.0.2.10:0
    protocol: udp
    persistent: 60s
    persistent_mask: 24
    persistence_engine: sip
    one_packet: true
    servers: [{address: 10.0.0.9:99}]
rules: |
  ipvsadm -A -t 192.0.2.10:443 -s rr -p 300 -M 255.255.255.0

  # a comment
  -a -t 192.0.2.10:443 -r 10.0.0.1:8443 -m -w 2 -x 5
marks: [{mark: 4294967295}]
`)
	var got []string
	for _, s := range c.Summary().Services {
		got = append(got, s.Rules...)
	}
	want := []string{
		"-A -t 192.0.2.10:443 -s rr -p 300 -M 255.255.255.0",
		"-a -t 192.0.2.10:443 -r 10.0.0.1:8443 -m -w 2",
		"-A -t [2001:db8::10]:80 -s wlc -p 300 -M 64",
		"-a -t [2001:db8::10]:80 -r [2001:db8::1]:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
		"-a -t [2001:db8::10]:80 -r 10.0.0.1:80 -i -w 7 --tun-type gre --tun-csum",
		"-a -t [2001:db8::10]:80 -r [2001:db8::2]:80 -m -w 1",
		"-A -f -1 -6 -s mh -b mh-fallback,mh-port",
		"-a -f -1 -6 -r [::2]:8080 -m -w 1",
		"-a -f -1 -6 -r [::3]:0 -m -w 1",
		"-A -u 192.0.2.10:0 -s wlc -p 60 -M 255.255.255.0 --pe sip -o",
		"-a -u 192.0.2.10:0 -r 10.0.0.9:0 -g -w 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("rules\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v := c.Services[1].Servers[2]; v.Upper != 9 || v.Lower != 3 {
		t.Errorf("thresholds of %+v", v)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].What, "dr cannot translate ports") {
		t.Errorf("warnings %v, want the port of the last server", c.Warnings)
	}
}

// TestRulesFile checks that rules: finds its file beside the configuration and tells the file's lines.
func TestRulesFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("ipvsadm.rules", "-A -t 192.0.2.10:80 -s rr\n\n  -a -t 192.0.2.10:80 -r nonsense -m\n")
	_, err := config.Load(write("fastlb.yaml", "rules: ipvsadm.rules\n"))
	want := dir + "/ipvsadm.rules:3:3: rules: illegal real server address[:port] specified: -a -t 192.0.2.10:80 -r nonsense -m"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, err := config.Load(write("other.yaml", "rules: none.rules\n")); !strings.HasPrefix(err.Error(), dir+"/other.yaml:1:8: rules: open ") {
		t.Error(err)
	}
}

const before = `
interfaces: [{name: eth0}, {name: eth1}]
services:
  - {address: 192.0.2.10:80, servers: [{address: 10.0.0.1}, {address: 10.0.0.2}]}
  - {address: 192.0.2.10:443, servers: [{address: 10.0.0.1}]}
tunables: {drop_entry: 1, sloppy_tcp: 1}
`

const after = `
interfaces: [{name: eth0, attach: copy, queues: [0, 1]}, {name: eth1}]
services:
  - {address: 192.0.2.10:80, servers: [{address: 10.0.0.2, weight: 5}, {address: 10.0.0.3}]}
  - {address: 192.0.2.10:53, protocol: udp, scheduler: rr, servers: [{address: 10.0.0.1}]}
tunables: {drop_entry: 2}
timeouts: {udp: 10s}
marks: [{mark: 3, ports: [80]}]
log: {level: debug}
workers: {batch: 32, busy_poll: off, numa: 1, tune: off}
flows: {state: ""}
neighbors: {10.0.0.1: "02:00:00:00:00:01"}
`

// TestDiff checks that a difference is complete, minimal, and printable.
func TestDiff(t *testing.T) {
	old, new := parse(t, before), parse(t, after)
	var got []string
	for _, a := range config.Diff(old, new) {
		got = append(got, a.String())
	}
	want := []string{
		"interfaces: eth0, eth1 → eth0 (attach copy; queues 0,1), eth1 (at the next start)",
		"workers.batch: 64 → 32 (at the next start)",
		"workers.busy_poll: auto → off (at the next start)",
		"workers.numa: auto → 1 (at the next start)",
		"workers.tune: auto → off (at the next start)",
		"flows.state: /run/fastlb/flows → \"\" (at the next start)",
		"neighbors: none → 10.0.0.1 02:00:00:00:00:01",
		"log: level info, format console → level debug, format console",
		"timeouts tcp 900s, tcpfin 120s, udp 10s",
		"tunable sloppy_tcp 0",
		"tunable drop_entry 2",
		"marks: 1 rules",
		"remove service tcp 192.0.2.10:443",
		"remove server 10.0.0.1:80 from tcp 192.0.2.10:80",
		"change server 10.0.0.2:80 of tcp 192.0.2.10:80 (dr, weight 5)",
		"add server 10.0.0.3:80 to tcp 192.0.2.10:80 (dr, weight 1)",
		"add service udp 192.0.2.10:53 (rr)",
		"add server 10.0.0.1:53 to udp 192.0.2.10:53 (dr, weight 1)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("difference\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if again := config.Diff(new, parse(t, after)); len(again) != 0 {
		t.Errorf("difference of equals: %v", again)
	}
	new.KeepStart(old)
	for _, a := range config.Diff(new, parse(t, after)) {
		if !a.Restart {
			t.Errorf("%s: not for the next start alone", a)
		}
	}
	for _, a := range config.Diff(new, parse(t, before)) {
		if a.Restart {
			t.Errorf("%s: what runs has it", a)
		}
	}
}

// TestJSON checks that a configuration survives being kept as JSON, as the director does between two starts.
func TestJSON(t *testing.T) {
	c, err := config.Load("testdata/complete/fastlb.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*config.Config{c, parse(t, before), parse(t, after), config.Default()} {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back config.Config
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if d := config.Diff(c, &back); len(d) != 0 {
			t.Errorf("%v", d)
		}
	}
}

// TestApply checks that the file wins over what was done by hand since.
func TestApply(t *testing.T) {
	var done []control.Kind
	do := func(op control.Op) error {
		switch op.Kind {
		case control.AddService:
			return service.ErrServiceExists
		case control.EditServer:
			return service.ErrNoServer
		case control.DeleteService:
			return service.ErrNoService
		}
		done = append(done, op.Kind)
		return nil
	}
	ops := []control.Op{{Kind: control.AddService}, {Kind: control.EditServer}, {Kind: control.DeleteService}}
	if err := config.Apply(ops, do); err != nil {
		t.Error(err)
	}
	if want := []control.Kind{control.EditService, control.AddServer}; !slices.Equal(done, want) {
		t.Errorf("did %v, want %v", done, want)
	}
}

// TestOps checks that a configuration's operations lead to it from an empty table.
func TestOps(t *testing.T) {
	var kinds []control.Kind
	for _, op := range parse(t, before).Ops() {
		kinds = append(kinds, op.Kind)
	}
	want := []control.Kind{
		control.SetTunable, control.SetTunable, control.AddService, control.AddServer, control.AddServer, control.AddService, control.AddServer,
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
}

// TestInterfaces checks VLANs, addresses and lists.
func TestInterfaces(t *testing.T) {
	c := parse(t, `
interfaces:
  - {name: eth0, queues: [0, 2], addresses: [192.0.2.1/24, fd00::1/64], mac: 02:00:00:00:00:01, attach: copy}
  - {name: eth0.100, parent: eth0, vlan: 100, mtu: 9000}
workers: {cpus: "2-4,8", hugepages: off, numa: 1, tune: off}
routes: [{to: ::/0, via: fd00::2}]
`)
	want := config.Interface{Name: "eth0", Attach: "copy", Queues: []int{0, 2}, MAC: [6]byte{2, 0, 0, 0, 0, 1}, MTU: 1500,
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("fd00::1/64")}}
	if !reflect.DeepEqual(c.Interfaces[0], want) {
		t.Errorf("%+v, want %+v", c.Interfaces[0], want)
	}
	if i := c.Interfaces[1]; i.Parent != "eth0" || i.VLAN != 100 || i.MTU != 9000 {
		t.Errorf("%+v", i)
	}
	if !slices.Equal(c.Workers.CPUs, []int{2, 3, 4, 8}) || c.Workers.Hugepages != "off" || c.Workers.NUMA != "1" || c.Workers.Tune != "off" {
		t.Errorf("%+v", c.Workers)
	}
}

// FuzzParse checks that no text panics, that every fault has a place, and that what is valid stays so.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/faults.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(before)
	f.Add(after)
	f.Add("a: &x [*x]\n")
	f.Add("services: &s\n- {address: 1.2.3.4:5, servers: *s}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "rules") { // could read files and ask name servers
			return
		}
		c, err := config.Parse("fuzz.yaml", []byte(text))
		if err != nil {
			var faults config.Faults
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("not faults: %v", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("valid, then not: %v", err)
		}
		c.Describe(new(strings.Builder))
		if d := config.Diff(c, c); len(d) != 0 {
			t.Fatalf("differs from itself: %v", d)
		}
	})
}

// TestDocumentedExample checks that docs/configuration.md's example is valid, without a warning, and says what it is
// documented to say.
func TestDocumentedExample(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("no example")
	}
	c := parse(t, example)
	if len(c.Warnings) != 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	if len(c.Services) != 5 || len(c.Interfaces) != 3 || len(c.Marks) != 1 {
		t.Errorf("%d services, %d interfaces, %d marks", len(c.Services), len(c.Interfaces), len(c.Marks))
	}
}

// TestContractExample checks the example that users were promised: every key with its default.
func TestContractExample(t *testing.T) {
	c, err := config.Load("testdata/complete/fastlb.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := config.Default()
	if !reflect.DeepEqual(c.Workers, d.Workers) || c.Flows != d.Flows || c.Timeouts != d.Timeouts || c.Log != d.Log || c.Metrics != d.Metrics || c.API != d.API {
		t.Errorf("%+v differs from the defaults %+v", c, d)
	}
	want := config.Service{Spec: service.Spec{
		ID: service.ID{Family: 4, Protocol: 6, Addr: netip.MustParseAddr("192.0.2.10"), Port: 80}, Scheduler: "wlc", Netmask: 1<<32 - 1,
	}}
	if got := c.Services[0]; got.Spec != want.Spec || len(got.Servers) != 1 || got.Servers[0].Method != service.DR {
		t.Errorf("%+v, want %+v", got, want)
	}
	if len(c.Neighbors) != 1 || len(c.Routes) != 1 || len(c.Marks) != 1 || len(c.Interfaces[0].Addresses) != 1 {
		t.Errorf("%+v", c)
	}
}
