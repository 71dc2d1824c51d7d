package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Lab is one run of the demo: what `fastlb lab` was asked to do.
type Lab struct {
	Binary   string // the fastlb executable
	Options  Options
	Nginx    string // path; "": the built-in server
	Attach   string // of the director's interfaces
	Requests int    // to each service; a multiple of the weights' sum keeps the promise exact
	Out      io.Writer
	Colour   bool // whether Out is a terminal

	plan *Plan
	site *Site
	lock *os.File
}

// standing is the file that tells a lab left standing (up) from the remains of a killed one.
const standing = "standing"

// Up builds the site with a director that serves every method, leaves it standing and says how to try it.
func (l *Lab) Up(ctx context.Context) (err error) {
	if err := l.prepare(); err != nil {
		return err
	}
	defer l.lock.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, l.site.Close())
		}
	}()
	if err := l.build(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(l.site.Dir, standing), nil, 0o644); err != nil {
		return err
	}
	heading(l.Out, l.Colour, "It stays up. Try it by hand:")
	web := l.plan.VIP("nat")
	space := func(node string) string { return "ip netns exec " + l.plan.namespace(node) }
	fmt.Fprintf(l.Out, "  %s curl http://%s\n", space(Client), web.V4)
	fmt.Fprintf(l.Out, "  %s curl 'http://[%s]'\n", space(Client), l.plan.VIP("tunnel").V6)
	fmt.Fprintf(l.Out, "  export FASTLB_SOCKET=%s\n", SocketIn(l.site.Dir))
	fmt.Fprintf(l.Out, "  %s ipvsadm -Ln --stats\n", l.Binary)
	fmt.Fprintf(l.Out, "  %s ipvsadm -e -t %s:80 -r %s -m -w 0\n", l.Binary, web.V4, l.plan.Service("nat", 4).Servers[0].Address)
	fmt.Fprintf(l.Out, "  %s status\n", l.Binary)
	fmt.Fprintf(l.Out, "  %s curl http://%s/metrics\n", space(Director), metricsAddress)
	fmt.Fprintf(l.Out, "  %s lab down\n", l.Binary)
	fmt.Fprintf(l.Out, "\nThe director's configuration is %s, its log %s.\n", l.site.ConfigPath(), filepath.Join(l.site.Dir, Director+"-fastlb.log"))
	return nil
}

// Run builds the site, sends requests to every service, prints the account and takes the site away again, whatever
// happens. A request that failed or a promise that was not kept is an error.
func (l *Lab) Run(ctx context.Context) (err error) {
	if err := l.prepare(); err != nil {
		return err
	}
	defer l.lock.Close()
	defer func() { err = errors.Join(err, l.site.Close()) }()
	if err := l.build(ctx); err != nil {
		return err
	}
	tallies, err := l.ask(ctx)
	if err != nil {
		return err
	}
	if err := l.listing(); err != nil {
		return err
	}
	return judge(tallies)
}

// Down takes away a site that stands and whatever a killed lab has left. Nothing there is no error.
func (l *Lab) Down() error {
	if err := l.open(); err != nil {
		return err
	}
	defer l.lock.Close()
	there := l.site.Exists()
	if err := l.site.Close(); err != nil {
		return err
	}
	if there {
		fmt.Fprintf(l.Out, "the lab is gone: its processes, the namespaces %s-*, %s\n", l.plan.Prefix, l.site.Dir)
	} else {
		fmt.Fprintln(l.Out, "no lab was there")
	}
	return nil
}

// prepare takes the site's directory, and clears away what a killed lab has left.
func (l *Lab) prepare() error {
	if err := l.open(); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.site.Dir, standing)); err == nil {
		l.lock.Close()
		return errors.New("lab: a lab is up already: try it, or take it away with `fastlb lab down`")
	}
	if !l.site.Exists() {
		return nil
	}
	fmt.Fprintln(l.Out, "removing what a killed lab has left")
	err := l.site.Close()
	l.lock.Close()
	if err != nil {
		return err
	}
	return l.open()
}

// open plans the site and locks its directory against another lab of the same prefix. The lock goes with the process.
func (l *Lab) open() (err error) {
	if os.Geteuid() != 0 {
		return errors.New("lab: network namespaces need root: run it with sudo")
	}
	if l.plan, err = NewPlan(l.Options); err != nil {
		return err
	}
	dir := "/run/" + l.plan.Prefix + "-lab"
	l.site = NewSite(l.plan, l.Binary, dir)
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if l.lock, err = os.Open(dir); errors.Is(err, fs.ErrNotExist) {
			continue // another lab has just taken it away
		} else if err != nil {
			return err
		}
		if err := unix.Flock(int(l.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			l.lock.Close()
			return fmt.Errorf("lab: another lab of the name %s is running: wait for it, or end it with ^C: %w", l.plan.Prefix, err)
		}
		locked, err1 := l.lock.Stat()
		there, err2 := os.Stat(dir)
		if err1 == nil && err2 == nil && os.SameFile(locked, there) {
			return nil
		}
		l.lock.Close()
	}
}

// build makes everything and says what was made.
func (l *Lab) build(ctx context.Context) error {
	heading(l.Out, l.Colour, "The site")
	l.plan.Picture(l.Out)
	if err := l.site.Build(); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := l.site.StartServers(l.Nginx); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	web := "nginx"
	if l.Nginx == "" {
		web = "the built-in HTTP server"
	}
	fmt.Fprintf(l.Out, "\n  Each box is a network namespace; the real servers run %s, and end tunnels themselves.\n", web)
	return l.director()
}

// director starts it with NAT and DR from the configuration file, and adds the tunnels as an administrator would.
func (l *Lab) director() error {
	var configured, typed []Service
	for _, s := range l.plan.Services() {
		if s.Method == "tunnel" {
			typed = append(typed, s)
		} else {
			configured = append(configured, s)
		}
	}
	if _, err := l.site.StartDirector(DirectorConfig{Attach: l.Attach, Services: configured}); err != nil {
		return err
	}
	heading(l.Out, l.Colour, "The director")
	fmt.Fprintf(l.Out, "  fastlb run --config %s    (NAT and DR; the tunnels by ipvsadm:)\n", l.site.ConfigPath())
	for _, s := range typed {
		for _, args := range s.Commands() {
			if _, err := l.site.Fastlb(append([]string{"ipvsadm"}, args...)...); err != nil {
				return err
			}
			fmt.Fprintf(l.Out, "  fastlb ipvsadm %s\n", strings.Join(args, " "))
		}
	}
	metrics, err := l.site.Metrics()
	if err != nil {
		return fmt.Errorf("ask the director for its metrics: %w", err)
	}
	fmt.Fprintf(l.Out, "\n  AF_XDP attached: %s\n", strings.Join(attachModes(metrics), ", "))
	return nil
}

// ask sends the requests and prints who answered.
func (l *Lab) ask(ctx context.Context) ([]Tally, error) {
	heading(l.Out, l.Colour, "Who answered, of what the weights promise (%d HTTP requests to each service, 4 at a time)", l.Requests)
	var tallies []Tally
	for _, s := range l.plan.Services() {
		tallies = append(tallies, l.site.Ask(ctx, s, l.Requests, 4))
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
	}
	WriteTallies(l.Out, tallies, l.Colour)
	return tallies, nil
}

func (l *Lab) listing() error {
	heading(l.Out, l.Colour, "ipvsadm -Ln --stats")
	out, err := l.site.Fastlb("ipvsadm", "-Ln", "--stats")
	fmt.Fprint(l.Out, indent(out))
	return err
}

// judge returns an error that names every service that did not do as promised.
func judge(tallies []Tally) error {
	var errs []error
	for _, t := range tallies {
		switch {
		case t.Failed > 0:
			errs = append(errs, fmt.Errorf("%s %s: %d of %d requests failed, the first with: %w", t.Service.Method, t.Service.Address, t.Failed, t.Requests, t.Failure))
		case !t.Kept():
			errs = append(errs, fmt.Errorf("%s %s: %v answered, the weights promise %v", t.Service.Method, t.Service.Address, t.Answers, t.Service.Promise(t.Requests)))
		}
	}
	return errors.Join(errs...)
}
