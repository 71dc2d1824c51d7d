package twin

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/neigh"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/replay"
)

// engine is replay's engine, with any number of workers, behind the same calls as a Twin.
type engine struct {
	*replay.Engine
	names []string
	sent  []Sent
}

func newEngine(t testing.TB, cfg Config, workers int) *engine {
	e := &engine{}
	o := replay.Options{Network: neigh.StaticConfig{Neighbors: cfg.Neighbors}, Capacity: 1024, Workers: workers}
	for _, i := range cfg.Interfaces {
		s := neigh.StaticInterface{Name: i.Name, VLAN: i.VLAN, MAC: i.MAC, MTU: i.MTU, Addresses: i.Addrs}
		if i.VLAN != 0 {
			s.Parent = cfg.Interfaces[i.Parent].Name
		}
		o.Network.Interfaces = append(o.Network.Interfaces, s)
		e.names = append(e.names, i.Name)
	}
	for _, r := range cfg.Routes {
		o.Network.Routes = append(o.Network.Routes, neigh.StaticRoute{To: r.To, Via: r.Via})
	}
	o.Sent = func(f replay.Frame) {
		e.sent = append(e.sent, Sent{Interface: cfg.Interfaces[f.Block].Parent, Frame: append([]byte(nil), f.Data...)})
	}
	var err error
	if e.Engine, err = replay.New(o); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *engine) command(now int64, line string) error {
	cs, err := replay.ReadCommands(strings.NewReader(fmt.Sprintf("%d.%09d %s\n", now/second, now%second, line)))
	if err != nil {
		return err
	}
	var out strings.Builder
	if err := e.Do(&cs[0], &out); err != nil {
		return err
	}
	if strings.Contains(out.String(), "\n= ") {
		return errors.New(out.String())
	}
	return nil
}

func (e *engine) advance(now int64) { e.Advance(clock.Time(now)) }

func (e *engine) lost() int { return 0 }

func (e *engine) receive(now int64, nic int, frame []byte) Outcome {
	e.advance(now)
	before := e.Reasons()
	e.sent = nil
	e.Receive(e.names[nic], clock.Time(now), frame)
	o := Outcome{Sent: e.sent, Verdict: Hold}
	if len(o.Sent) > 0 {
		o.Verdict = Forward
	}
	for r, n := range e.Reasons() {
		if n == before[r] {
			continue
		}
		o.Verdict, o.Reason = Drop, perf.Reason(r)
		if perf.Reason(r) >= perf.PassNotIP {
			o.Verdict = Pass
		}
	}
	return o
}

// conns lists connections with the seconds they have left in place of the deadline.
func (e *engine) conns() (l []Conn) {
	err := e.Connections(func(c control.ConnEntry) error {
		l = append(l, Conn{map[uint8]string{protoTCP: "TCP", protoUDP: "UDP"}[c.Protocol], c.State, c.Client, c.Virtual, c.Server, int64(c.Expires)})
		return nil
	})
	if err != nil {
		panic(err)
	}
	sort.Slice(l, func(i, j int) bool { return l[i].String() < l[j].String() })
	return l
}

func (e *engine) counts() (l []Counts) {
	s, err := e.Summary()
	if err != nil {
		panic(err)
	}
	for _, v := range s.Services {
		c := Counts{Protocol: strings.ToUpper(v.Protocol), Service: netip.MustParseAddrPort(v.Service), stats: stats(v.Counts)}
		l = append(l, c)
		for _, d := range v.Servers {
			c.Server, c.Active, c.Inactive, c.stats = netip.MustParseAddrPort(d.Server), int(d.Active), int(d.Inactive), stats(d.Counts)
			l = append(l, c)
		}
	}
	return l
}

// asListed brings a twin's lists into the form of the engine's: seconds left, servers in the order of addition, no weights.
func (e *engine) asListed(now int64, conns []Conn, counts []Counts) ([]Conn, []Counts) {
	for i := range conns {
		conns[i].Deadline = (conns[i].Deadline - now) / second
	}
	sort.Slice(conns, func(i, j int) bool { return conns[i].String() < conns[j].String() })
	var l []Counts
	at := 0
	for _, c := range counts {
		c.Weight = 0
		if !c.Server.IsValid() {
			l, at = append(l, c), len(l)+1
			continue
		}
		l = slices.Insert(l, at, c)
	}
	return conns, l
}

// TestReplayAgrees compares replay's engine, with one worker and with several, with the twin.
func TestReplayAgrees(t *testing.T) {
	n := uint64(240)
	if testing.Short() {
		n = 24
	}
	for seed := range n {
		workers := 1 + int(seed%4)
		events := sequence(nil, 100000+seed, 60)
		make := func(t testing.TB, c Config) dataplane { return newEngine(t, c, workers) }
		if _, what := disagreement(t, make, events); what != "" {
			report(t, make, fmt.Sprintf("seed %d, %d workers", seed, workers), events)
			return
		}
	}
}
