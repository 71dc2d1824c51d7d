package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fastlb/fastlb/lab"
)

// Reloads of a changing configuration while requests go on: not one of them fails.
func TestReloadUnderTraffic(t *testing.T) {
	s := site(t, lab.Options{})
	base := lab.DirectorConfig{Services: services(s.Plan)}
	p := direct(t, s, base)

	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	var workers sync.WaitGroup
	for _, w := range paths {
		workers.Go(func() {
			for ctx.Err() == nil {
				if _, err := name(t.Context(), s, w.bulk(s.Plan).Address); err != nil {
					t.Errorf("%s: a request during the reloads: %v", w, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	// A connection that lives through all of it.
	long := dial(t, s, paths[0].bulk(s.Plan))
	first, err := long.ask()
	if err != nil {
		t.Error(err)
	}

	extra := s.Plan.Service("nat", 4).On(s.Plan, "tcp", lab.AltPort, 4)
	for i := range 20 {
		c := base
		if i%2 == 0 { // one service more, and other weights
			c.Services = append(services(s.Plan), extra)
			for j := range c.Services {
				c.Services[j].Servers[0].Weight = 2 + i
			}
		}
		if err := s.WriteConfig(c); err != nil {
			t.Fatal(err)
		}
		before := asked.Load()
		if i%4 < 2 {
			_, err = s.Fastlb("reload")
		} else {
			err = p.Signal(syscall.SIGHUP)
		}
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			out, err := s.Fastlb("ipvsadm", "-Ln")
			if has := strings.Contains(out, extra.Address.String()+" "); err == nil && has != (i%2 == 0) {
				err = fmt.Errorf("reload %d: %s listed: %v", i, extra.Address, has)
			}
			if err == nil && asked.Load() < before+10 && !t.Failed() {
				err = fmt.Errorf("reload %d: the requests do not go on", i)
			}
			return err
		})
		if got, err := long.ask(); err != nil || got != first {
			t.Errorf("reload %d: the old connection is answered by %q, %v; it began with %s", i, got, err, first)
		}
	}
	cancel()
	workers.Wait()
	t.Logf("%d requests during 20 reloads", asked.Load())
}

// A director that is stopped and started goes on with the connections that it had.
func TestRestartAdoptsConnections(t *testing.T) {
	s := site(t, lab.Options{Queues: 2})
	c := lab.DirectorConfig{Services: services(s.Plan)}
	p := direct(t, s, c)
	sessions := open(t, s)
	stop(t, p)
	direct(t, s, c)
	for _, one := range sessions {
		if got, err := one.ask(); err != nil || got != one.name {
			t.Errorf("%s: after the restart %q answers, %v; before it %s did", one.path, got, err, one.name)
		}
	}
}

// A director that was killed leaves its program on the interfaces: what clients send meanwhile is lost, not refused, and
// the next director goes on with the connections.
func TestKilledDirectorIsFollowed(t *testing.T) {
	s := site(t, lab.Options{})
	c := lab.DirectorConfig{Services: services(s.Plan)}
	p := direct(t, s, c)
	sessions := open(t, s)
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Ended()
	for _, w := range paths {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		conn, err := s.Dial(ctx, lab.Client, "tcp", w.bulk(s.Plan).Address.String())
		cancel()
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s without a director: %v; want silence", w, err)
		}
	}
	direct(t, s, c)
	for _, one := range sessions {
		if got, err := one.ask(); err != nil || got != one.name {
			t.Errorf("%s: after the crash %q answers, %v; before it %s did", one.path, got, err, one.name)
		}
	}
}

// session is a connection that has been answered once.
type session struct {
	*conn
	path
	name string
}

// open opens some over each path.
func open(t *testing.T, s *lab.Site) []session {
	t.Helper()
	var sessions []session
	for _, w := range paths {
		for range 3 {
			one := session{conn: dial(t, s, w.bulk(s.Plan)), path: w}
			var err error
			if one.name, err = one.ask(); err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, one)
		}
	}
	return sessions
}

// SIGTERM leaves the director's interfaces as they were found.
func TestStopLeavesInterfacesAsFound(t *testing.T) {
	for _, attach := range []string{"copy", "generic"} {
		t.Run(attach, func(t *testing.T) {
			s := site(t, lab.Options{})
			before := links(t, s)
			p := direct(t, s, lab.DirectorConfig{Attach: attach, Services: services(s.Plan)})
			if _, err := name(t.Context(), s, paths[0].bulk(s.Plan).Address); err != nil {
				t.Fatal(err)
			}
			if during := links(t, s); !strings.Contains(during, "xdp") || !strings.Contains(during, "fastlb0") {
				t.Errorf("while the director runs:\n%s", during)
			}
			stop(t, p)
			if after := links(t, s); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
			if _, err := os.Stat(lab.SocketIn(s.Dir)); err == nil {
				t.Error("the socket remains")
			}
		})
	}
}

// links describes the interfaces of the director's namespace: what a director could have changed.
func links(t *testing.T, s *lab.Site) string {
	t.Helper()
	var b strings.Builder
	err := lab.In(s.Plan.Router.Namespace, func() error {
		list, err := netlink.LinkList()
		for _, l := range list {
			a := l.Attrs()
			fmt.Fprintf(&b, "%s mtu %d %v", a.Name, a.MTU, a.Flags)
			if a.Xdp != nil && a.Xdp.Attached {
				b.WriteString(" xdp")
			}
			b.WriteByte('\n')
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Mistakes are refused in words.
func TestRunRefuses(t *testing.T) {
	s := site(t, lab.Options{Servers: 1})
	config := filepath.Join(s.Dir, "wrong.yaml")
	if err := os.WriteFile(config, []byte("interfaces:\n  - name: eth0\n    atach: auto\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"run", "--interface", "eth7"}, []string{"eth7"}},
		{[]string{"run", "--config", config}, []string{"wrong.yaml:3", "atach"}},
		{[]string{"run", "--config", "/nowhere.yaml"}, []string{"/nowhere.yaml"}},
	} {
		_, err := s.Run(lab.Director, append([]string{fastlb}, append(c.args, "--socket", lab.SocketIn(s.Dir))...)...)
		if err == nil {
			t.Errorf("%v was not refused", c.args)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: no %q in %v", c.args, want, err)
			}
		}
	}
}

// The demo as users run it: it succeeds, says who answered, and leaves nothing.
func TestLabRun(t *testing.T) {
	needRoot(t)
	prefix := fmt.Sprintf("fastlb-e2e-%d", os.Getpid())
	out, err := exec.Command(fastlb, "lab", "run", "--prefix", prefix, "--requests", "12").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"┌────────┐", "AF_XDP attached: eth0 copy, eth1 copy", "6 of 6", "TCP  192.0.2.30:80", "TCP  [2001:db8::10]:80"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	nothingLeft(t, prefix)
}

// A lab that is left standing works by hand and goes with `lab down`; so does one that was killed; ^C takes a running one
// away.
func TestLabUpAndDown(t *testing.T) {
	needRoot(t)
	prefix := fmt.Sprintf("fastlb-e2e-%d", os.Getpid())
	down := func() {
		t.Helper()
		if out, err := exec.Command(fastlb, "lab", "down", "--prefix", prefix).CombinedOutput(); err != nil {
			t.Errorf("lab down: %v\n%s", err, out)
		}
		nothingLeft(t, prefix)
	}
	if out, err := exec.Command(fastlb, "lab", "up", "--prefix", prefix).CombinedOutput(); err != nil || !strings.Contains(string(out), "lab down") {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command("ip", "netns", "exec", prefix+"-client", "curl", "-sS", "--max-time", "10", "http://192.0.2.10").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "web") {
		t.Errorf("curl by hand: %q, %v", out, err)
	}
	if out, err := exec.Command(fastlb, "lab", "run", "--prefix", prefix).CombinedOutput(); err == nil || !strings.Contains(string(out), "lab down") {
		t.Errorf("a second lab: %v\n%s", err, out)
	}
	down()

	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGKILL} {
		run := exec.Command(fastlb, "lab", "run", "--prefix", prefix, "--requests", "1000000")
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { _, err := os.Stat(lab.SocketIn("/run/" + prefix + "-lab")); return err })
		if err := run.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := run.Wait(); err == nil {
			t.Errorf("%v ended the lab without a sign of it", sig)
		}
		if sig == syscall.SIGINT {
			nothingLeft(t, prefix)
		}
	}
	down()
}

// nothingLeft looks for namespaces and files of a lab.
func nothingLeft(t *testing.T, prefix string) {
	t.Helper()
	for _, pattern := range []string{"/run/netns/" + prefix + "-*", "/run/" + prefix + "-lab"} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("%v remain", left)
		}
	}
}
