package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// metricsAddress is the director's default, in its own namespace.
var metricsAddress = netip.MustParseAddrPort("127.0.0.1:9108")

// ConfigPath is where StartDirector writes the director's configuration.
func (s *Site) ConfigPath() string { return filepath.Join(s.Dir, "fastlb.yaml") }

// WriteConfig writes the director's configuration; a running director reads it anew on SIGHUP and `fastlb reload`.
func (s *Site) WriteConfig(c DirectorConfig) error {
	c.Dir = s.Dir
	if len(c.Interfaces) == 0 {
		for _, i := range s.Plan.Router.Interfaces {
			c.Interfaces = append(c.Interfaces, i.Name)
		}
	}
	return os.WriteFile(s.ConfigPath(), []byte(c.YAML()), 0o644)
}

// StartDirector runs `fastlb run` in the director's namespace, on every interface there unless the configuration names
// some, and waits until it answers on its socket.
func (s *Site) StartDirector(c DirectorConfig, flags ...string) (*Process, error) {
	if err := s.WriteConfig(c); err != nil {
		return nil, err
	}
	argv := append([]string{s.Binary, "lab", "enter", s.Plan.Router.Namespace, s.Binary, "run", "--config", s.ConfigPath()}, flags...)
	p, err := s.Start(Director, "fastlb", argv...)
	if err != nil {
		return nil, err
	}
	return p, p.Await(startPatience, func() error { _, err := s.Fastlb("ipvsadm", "-Ln"); return err })
}

// Fastlb runs a subcommand of fastlb against the site's director and returns what it printed.
func (s *Site) Fastlb(args ...string) (string, error) {
	cmd := exec.Command(s.Binary, args...)
	cmd.Env = append(os.Environ(), "FASTLB_SOCKET="+SocketIn(s.Dir))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("fastlb %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), err
}

// Metrics returns the director's metrics in Prometheus' text form.
func (s *Site) Metrics() (string, error) {
	return fetch(context.Background(), s.HTTPClient(Director, startPatience), "http://"+metricsAddress.String()+"/metrics")
}

// Ask sends n HTTP requests from the client to a service, parallel of them at a time, each on a connection of its own. It
// ends early when ctx does.
func (s *Site) Ask(ctx context.Context, service Service, n, parallel int) Tally {
	t := Tally{Service: service, Requests: n, Answers: make(map[string]int)}
	client := s.HTTPClient(Client, 10*time.Second)
	var (
		asked atomic.Int64
		group sync.WaitGroup
		lock  sync.Mutex // of t
	)
	for range parallel {
		group.Go(func() {
			for ctx.Err() == nil && asked.Add(1) <= int64(n) {
				name, err := AskName(ctx, client, service.Address)
				lock.Lock()
				if err == nil {
					t.Answers[name]++
				} else if t.Failed++; t.Failure == nil {
					t.Failure = err
				}
				lock.Unlock()
			}
		})
	}
	group.Wait()
	return t
}
