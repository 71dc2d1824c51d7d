package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastlb/fastlb/lab"
)

// fastlb is the executable under test, built once.
var fastlb string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // every test skips, or fails where it must not skip
	}
	dir, err := os.MkdirTemp("", "fastlb-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	fastlb = filepath.Join(dir, "fastlb")
	build := exec.Command("go", "build", "-o", fastlb, "../cmd/fastlb")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build fastlb: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("FASTLB_REQUIRE_E2E") == "1" {
		t.Fatal("FASTLB_REQUIRE_E2E=1, but not root: network namespaces and AF_XDP need root")
	}
	t.Skip("network namespaces and AF_XDP need root")
}

// patience is how long a condition may take to come true. It is only ever waited out by a failing test.
const patience = 15 * time.Second

// eventually asks condition again and again until it returns nil, and fails the test after patience.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-limit:
			t.Fatalf("still after %v: %v", patience, err)
		case <-tick.C:
		}
	}
}

// site builds a site whose servers are up, and takes it away after the test; nothing of it may remain then.
func site(t *testing.T, o lab.Options) *lab.Site {
	t.Helper()
	needRoot(t)
	o.Prefix = fmt.Sprintf("fastlb-e2e-%d", os.Getpid())
	p, err := lab.NewPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	s := lab.NewSite(p, fastlb, "/run/"+o.Prefix) // short: a socket's path has at most 107 bytes
	if err := s.Build(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s.Exists() {
			t.Errorf("namespaces of %v remain", p.Namespaces())
		}
	})
	if err := s.StartServers(""); err != nil {
		t.Fatal(err)
	}
	return s
}

// direct starts a director; what it logged is shown if the test fails.
func direct(t *testing.T, s *lab.Site, c lab.DirectorConfig) *lab.Process {
	t.Helper()
	p, err := s.StartDirector(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the director printed:\n%s", p.Output())
			if out, err := s.Fastlb("ipvsadm", "-Ln", "--stats"); err == nil {
				t.Logf("%s", out)
			}
			if out, err := s.Fastlb("status"); err == nil {
				t.Logf("%s", out)
			}
		}
	})
	return p
}

// stop ends a director as an administrator does and fails the test if that is not a clean end.
func stop(t *testing.T, p *lab.Process) {
	t.Helper()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if code := p.ExitCode(); code != 0 {
		t.Errorf("SIGTERM ended the director with status %d; it printed:\n%s", code, p.Output())
	}
}

// path is one way through the director: a forwarding method with the families of service and servers.
type path struct {
	method      string
	vip, server int // 4 or 6
}

func (p path) String() string {
	if p.vip != p.server {
		return fmt.Sprintf("%s/%din%d", p.method, p.vip, p.server)
	}
	return fmt.Sprintf("%s/v%d", p.method, p.vip)
}

// paths are all ways; a tunnel may change the family.
var paths = []path{
	{"nat", 4, 4}, {"nat", 6, 6},
	{"dr", 4, 4}, {"dr", 6, 6},
	{"tunnel", 4, 4}, {"tunnel", 6, 6}, {"tunnel", 4, 6}, {"tunnel", 6, 4},
}

// bulk is the path's TCP service: HTTP with /echo, rr.
func (p path) bulk(plan *lab.Plan) lab.Service { return p.service(plan, "tcp", lab.BulkPort) }

// echo is the path's UDP service.
func (p path) echo(plan *lab.Plan) lab.Service { return p.service(plan, "udp", lab.EchoPort) }

// service is on a port of its own where the families differ: the VIP is the same.
func (p path) service(plan *lab.Plan, protocol string, port uint16) lab.Service {
	if p.vip != p.server {
		port += lab.Second
	}
	s := plan.Service(p.method, p.vip).On(plan, protocol, port, p.server)
	s.Scheduler = "rr"
	return s
}

// services are the TCP and UDP services of every path.
func services(plan *lab.Plan) []lab.Service {
	var all []lab.Service
	for _, p := range paths {
		all = append(all, p.bulk(plan), p.echo(plan))
	}
	return all
}

// dial connects from the client to a service.
func dial(t *testing.T, s *lab.Site, service lab.Service) *conn {
	t.Helper()
	c, err := s.Dial(t.Context(), lab.Client, service.Protocol, service.Address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return newConn(c)
}

// name asks a service for a server's name.
func name(ctx context.Context, s *lab.Site, address netip.AddrPort) (string, error) {
	return lab.AskName(ctx, s.HTTPClient(lab.Client, patience), address)
}
