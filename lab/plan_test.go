package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func plan(t *testing.T) *Plan {
	t.Helper()
	p, err := NewPlan(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every address and MAC address of a site belongs to one interface, but for the VIPs, which the servers of DR and tunnels
// hold besides the director.
func TestPlanAddressesAreUnique(t *testing.T) {
	seen := map[string]string{}
	p := plan(t)
	for _, n := range p.Nodes() {
		for _, i := range n.Interfaces {
			for _, key := range append([]string{i.MAC.String()}, addresses(i.Addresses)...) {
				if other := seen[key]; other != "" {
					t.Errorf("%s of %s is %s's too", key, n.Name, other)
				}
				seen[key] = n.Name
			}
		}
	}
	for _, n := range p.Servers {
		for _, a := range addresses(n.Loopback) {
			if seen[a] != Director {
				t.Errorf("%s on lo of %s is not the director's", a, n.Name)
			}
		}
	}
}

func addresses(prefixes []netip.Prefix) []string {
	var s []string
	for _, p := range prefixes {
		s = append(s, p.Addr().String())
	}
	return s
}

func TestPlanNamespaces(t *testing.T) {
	want := []string{"fastlb-switch", "fastlb-client", "fastlb-director", "fastlb-web1", "fastlb-web2", "fastlb-web3"}
	if got := plan(t).Namespaces(); !slices.Equal(got, want) {
		t.Errorf("namespaces %v, want %v", got, want)
	}
}

func TestPlanRefusesWhatCannotBeBuilt(t *testing.T) {
	for _, o := range []Options{{Queues: -1}, {Queues: 65}, {Servers: 10}, {Servers: -1}} {
		if _, err := NewPlan(o); err == nil {
			t.Errorf("%+v was planned", o)
		}
	}
}

func TestHost(t *testing.T) {
	for _, c := range []struct {
		network, want string
		number        int
	}{
		{"192.0.2.0/24", "192.0.2.100", 100},
		{"2001:db8::/64", "2001:db8::100", 100},
		{"2001:db8::/64", "2001:db8::13", 13},
		{"fd00::/64", "fd00::1", 1},
	} {
		if got := host(netip.MustParsePrefix(c.network), c.number); got.String() != c.want {
			t.Errorf("host %d of %s is %s, want %s", c.number, c.network, got, c.want)
		}
	}
}

func TestServiceCommands(t *testing.T) {
	p := plan(t)
	var lines []string
	for _, args := range p.Service("nat", 6).Commands()[:2] {
		lines = append(lines, strings.Join(args, " "))
	}
	for _, args := range p.Service("tunnel", 4).On(p, "udp", EchoPort, 6).Commands()[1:2] {
		lines = append(lines, strings.Join(args, " "))
	}
	want := []string{
		"-A -t [2001:db8::10]:80 -s wrr",
		"-a -t [2001:db8::10]:80 -r [fd00::11]:8080 -m -w 3",
		"-a -u 192.0.2.30:5300 -r [fd00::11]:5300 -i -w 3",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestDirectorConfig(t *testing.T) {
	p := plan(t)
	s := p.Service("dr", 4)
	s.Servers = s.Servers[:1]
	got := DirectorConfig{Interfaces: []string{"eth0", "eth1"}, Dir: "/run/x", Services: []Service{s}}.YAML()
	want := `interfaces:
  - {name: eth0, attach: auto}
  - {name: eth1, attach: auto}
flows: {capacity: 65536, state: "/run/x/flows"}
api: {socket: "/run/x/fastlb.sock"}
services:
  - address: "192.0.2.20:80"
    protocol: tcp
    scheduler: wrr
    forward: dr
    servers:
      - {address: "192.0.2.11:80", weight: 3}
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestPicture(t *testing.T) {
	var b strings.Builder
	plan(t).Picture(&b)
	want := `
           ┌────────┐
           │ client │ 192.0.2.100  2001:db8::100
           └───┬────┘
               │
  ━━━━━━┯━━━━━━┷━━━━━┯━━━━━━━━━━━━┯━━━━━━━━━━━━┯━━━━━━ outside  192.0.2.0/24  2001:db8::/64
        │ .1         │ .11        │ .12        │ .13
   ┌────┴────┐  ┌────┴────┐  ┌────┴────┐  ┌────┴────┐
   │director │  │  web1   │  │  web2   │  │  web3   │
   │ AF_XDP  │  │weight 3 │  │weight 2 │  │weight 1 │
   └────┬────┘  └────┬────┘  └────┬────┘  └────┬────┘
        │ .1         │ .11        │ .12        │ .13
  ━━━━━━┷━━━━━━━━━━━━┷━━━━━━━━━━━━┷━━━━━━━━━━━━┷━━━━━━ inside   10.0.0.0/24  fd00::/64
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got%swant%s", got, want)
	}
}

func TestTallies(t *testing.T) {
	p := plan(t)
	kept := Tally{Service: p.Service("nat", 4), Requests: 60, Answers: map[string]int{"web1": 30, "web2": 20, "web3": 10}}
	failed := Tally{Service: p.Service("dr", 6), Requests: 60, Answers: map[string]int{"web1": 30, "web2": 19, "web3": 10}, Failed: 1}
	uneven := Tally{Service: p.Service("dr", 4), Requests: 60, Answers: map[string]int{"web1": 60}}
	var b strings.Builder
	WriteTallies(&b, []Tally{kept, failed, uneven}, false)
	want := `
  method   service                    web1       web2       web3  failed  shares
  nat      192.0.2.10:80          30 of 30   20 of 20   10 of 10       0  ███████████████▒▒▒▒▒▒▒▒▒▒░░░░░
  dr       [2001:db8::20]:80      30 of 30   19 of 20   10 of 10       1  ███████████████▒▒▒▒▒▒▒▒▒░░░░░
  dr       192.0.2.20:80          60 of 30    0 of 20    0 of 10       0  ██████████████████████████████
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got%swant%s", got, want)
	}
	for i, tally := range []Tally{kept, failed, uneven} {
		if tally.Kept() != (i == 0) {
			t.Errorf("tally %d: kept is %v", i, tally.Kept())
		}
	}
}

func TestAttachModes(t *testing.T) {
	got := attachModes(`# HELP fastlb_interface_attach_info How AF_XDP is attached.
fastlb_interface_attach_info{interface="eth1",mode="copy"} 1
fastlb_interface_attach_info{interface="eth0",mode="generic"} 1
fastlb_interface_attach_info{interface="eth0",mode="copy"} 0
fastlb_flow_entries 3
`)
	if want := []string{"eth0 generic", "eth1 copy"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestInner(t *testing.T) {
	inner4 := append([]byte{0x45}, make([]byte, 19)...)
	inner6 := append([]byte{0x60}, make([]byte, 39)...)
	outer := append([]byte{0x46}, make([]byte, 23)...) // with four bytes of options
	for _, c := range []struct {
		name   string
		packet []byte
		outer  bool
		want   int
	}{
		{"IPv4 in IPv4", append(slices.Clone(outer), inner4...), true, 20},
		{"IPv6 in IPv4", append(slices.Clone(outer), inner6...), true, 40},
		{"IPv4 in IPv6", inner4, false, 20},
		{"IPv6 in IPv6", inner6, false, 40},
		{"nothing inside", outer, true, 0},
		{"cut off", outer[:22], true, 0},
		{"empty", nil, false, 0},
		{"half a header", inner6[:30], false, 0},
		{"no IP", append([]byte{0x10}, inner6...), false, 0},
	} {
		if got := Inner(c.packet, c.outer); len(got) != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, len(got), c.want)
		}
	}
}
