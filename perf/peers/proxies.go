package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fastlb/fastlb/lab"
)

// nginxStream is the module of Debian's nginx that forwards TCP.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

// The site of a contender: a client, the balancer with the virtual address, and four servers, which are four addresses of
// one namespace.
var (
	clientAddr = netip.MustParsePrefix("203.0.113.2/24")
	webService = netip.MustParseAddrPort("192.0.2.10:80")
)

// contender balances connections between clients and servers.
type contender struct {
	name   string
	target netip.AddrPort
	start  func(*webSite) ([]string, error) // its command line; nil: the kernel routes

	site *webSite
}

// contenders: the first is what all others cost in addition, the last two what they are set in relation to.
func contenders() []*contender {
	return []*contender{
		{name: "no balancer", target: netip.AddrPortFrom(servers[0], webService.Port())},
		{name: "fastlb, NAT", target: webService, start: startFastlbNAT("adaptive")},
		{name: "fastlb, NAT, interrupt", target: webService, start: startFastlbNAT("interrupt")},
		{name: "haproxy", target: webService, start: startHAProxy},
		{name: "nginx stream", target: webService, start: startNginx},
	}
}

// proxied is what one round gave.
type proxied struct {
	rate    float64 // connections or requests a second
	own     float64 // CPU time of the balancer's processes, µs each
	machine float64 // of the whole machine, µs each
}

type proxyResult struct {
	Name      string  `json:"name"`
	Mode      string  `json:"mode"`
	Rate      float64 `json:"rate"`
	OfHAProxy float64 `json:"of_haproxy"`
	OfNginx   float64 `json:"of_nginx"`
	Own       float64 `json:"own_us"`
	Machine   float64 `json:"machine_us"`
	Added     float64 `json:"added_us"`
	Failures  uint64  `json:"failures"`
}

type proxyReport struct {
	Machine  machine       `json:"machine"`
	Rounds   int           `json:"rounds"`
	Parallel int           `json:"parallel"`
	Results  []proxyResult `json:"results"`
}

func compareProxies(ctx context.Context, args []string) (err error) {
	o := newOptions("proxies")
	rounds := o.Int("rounds", 5, "rounds of each, 1 to 100")
	duration := o.Duration("duration", time.Second, "`TIME` of a round, 100ms to 1m")
	parallel := o.Int("parallel", 64, "connections at a time, 1 to 10000")
	if err := o.parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *rounds > 100 || *duration < 100*time.Millisecond || *duration > time.Minute || *parallel < 1 || *parallel > 10000 {
		return errors.New("a flag is out of its range: see -h")
	}
	s, err := newSite(o.binary)
	if err != nil {
		return err
	}
	all := contenders()
	defer func() {
		for _, c := range all {
			if c.site != nil {
				err = errors.Join(err, c.site.stop())
			}
		}
		err = errors.Join(err, s.close())
	}()
	for _, c := range all {
		if err := c.set(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	report := proxyReport{Machine: thisMachine(), Rounds: *rounds, Parallel: *parallel}
	fmt.Printf("%s\nmedians of %d interleaved rounds of %v, %d connections at a time\n", report.Machine, *rounds, *duration, *parallel)
	disturbed := noise{tries: o.tries}
	for _, mode := range []string{modeConnections, modeRequests} {
		figures, failures := make([][]proxied, len(all)), make([]uint64, len(all))
		for round := range *rounds + 1 {
			for i, c := range all {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				var p proxied
				var failed uint64
				err := disturbed.undisturbed(func() (err error) {
					p, failed, err = c.measure(mode, *parallel, *duration)
					return err
				})
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				failures[i] += failed
				if round > 0 {
					figures[i] = append(figures[i], p)
				}
			}
		}
		results := proxyResults(all, mode, figures, failures)
		printProxies(mode, results)
		report.Results = append(report.Results, results...)
	}
	fmt.Print(disturbed)
	return writeJSON(o.write, report)
}

// The two ways to ask.
const (
	modeConnections = "connections"
	modeRequests    = "requests"
)

func proxyResults(all []*contender, mode string, figures [][]proxied, failures []uint64) (results []proxyResult) {
	machineOf := func(i int) float64 { return medianOf(figures[i], func(p proxied) float64 { return p.machine }) }
	rateOf := func(i int) float64 { return medianOf(figures[i], func(p proxied) float64 { return p.rate }) }
	haproxy, nginx := rateOf(len(all)-2), rateOf(len(all)-1)
	for i, c := range all {
		results = append(results, proxyResult{
			Name: c.name, Mode: mode, Rate: rateOf(i), OfHAProxy: rateOf(i) / haproxy, OfNginx: rateOf(i) / nginx,
			Own:     medianOf(figures[i], func(p proxied) float64 { return p.own }),
			Machine: machineOf(i), Added: machineOf(i) - machineOf(0), Failures: failures[i],
		})
	}
	return results
}

func printProxies(mode string, results []proxyResult) {
	title := map[string]string{
		modeConnections: "A connection for each request (HTTP, Connection: close)",
		modeRequests:    "Requests over connections that stay",
	}[mode]
	fmt.Printf("\n%s\n\n", title)
	rows := [][]string{{"", mode + "/s", "of haproxy", "of nginx", "own µs", "machine µs", "added µs", "failures"}}
	for _, r := range results {
		rows = append(rows, []string{r.Name, fmt.Sprintf("%.0f", r.Rate), fmt.Sprintf("%.2f", r.OfHAProxy), fmt.Sprintf("%.2f", r.OfNginx), fmt.Sprintf("%.1f", r.Own),
			fmt.Sprintf("%.1f", r.Machine), fmt.Sprintf("%.1f", r.Added), fmt.Sprint(r.Failures)})
	}
	table(os.Stdout, rows)
	fmt.Println("\n  CPU time each: own is the balancer's processes', machine all of it, clients and servers too; added is what that is more\n" +
		"  than without a balancer (the kernel routes to one server).")
}

// webSite is where a contender works.
type webSite struct {
	*site
	base                      string // of file names
	client, director, servers string // namespaces
	socket                    string
	balancer, server          *lab.Process
}

// set builds the contender's site, starts it and waits until it answers.
func (c *contender) set(ctx context.Context, s *site) error {
	n := fmt.Sprintf("%s-%d", s.generator, len(s.namespaces))
	w := &webSite{site: s, base: filepath.Join(s.dir, n), client: n + "-c", director: n + "-d", servers: n + "-s"}
	c.site = w
	for _, name := range []string{w.client, w.director, w.servers} {
		if err := s.addNamespace(name); err != nil {
			return err
		}
	}
	if err := w.build(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	argv := []string{self, helperServe}
	for _, a := range servers {
		argv = append(argv, netip.AddrPortFrom(a, webService.Port()).String())
	}
	if w.server, err = lab.StartIn(w.servers, "the servers", w.base+"-servers.log", argv...); err != nil {
		return err
	}
	awaited := w.server
	if c.start != nil {
		if argv, err = c.start(w); err != nil {
			return err
		}
		if w.balancer, err = lab.StartIn(w.director, c.name, w.base+"-balancer.log", argv...); err != nil {
			return err
		}
		awaited = w.balancer
	}
	return awaited.Await(startPatience, func() error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return lab.In(w.client, func() error {
			connection, err := net.DialTimeout("tcp", c.target.String(), time.Second)
			if err != nil {
				return err
			}
			defer connection.Close()
			if err := connection.SetDeadline(time.Now().Add(time.Second)); err != nil {
				return err
			}
			if _, err := connection.Write([]byte(requestOnce)); err != nil {
				return err
			}
			_, err = connection.Read(make([]byte, 1))
			return err
		})
	})
}

func (w *webSite) stop() error {
	var errs []error
	for _, p := range []*lab.Process{w.balancer, w.server} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	return errors.Join(errs...)
}

// build lays two veths, client to director and director to servers. Whoever sends to the director computes his checksums
// himself, as AF_XDP on a veth needs and a NIC would have it done; that is so for all contenders.
func (w *webSite) build() error {
	inside := make([]netip.Prefix, len(servers))
	for i, a := range servers {
		inside[i] = netip.PrefixFrom(a, insideAddr.Bits())
	}
	for _, cable := range []struct {
		namespace      string
		far            string // the director's end
		own, directors []netip.Prefix
		gateway        netip.Addr
	}{
		{w.client, "eth0", []netip.Prefix{clientAddr}, []netip.Prefix{outsideAddr}, outsideAddr.Addr()},
		{w.servers, "eth1", inside, []netip.Prefix{insideAddr}, insideAddr.Addr()},
	} {
		if err := w.veth(cable.namespace, cable.far); err != nil {
			return err
		}
		if err := lab.In(w.director, func() error { return errors.Join(addAll(cable.far, cable.directors), up(cable.far)) }); err != nil {
			return err
		}
		err := lab.In(cable.namespace, func() error {
			if err := errors.Join(addAll("eth0", cable.own), up("eth0")); err != nil {
				return err
			}
			return netlink.RouteAdd(&netlink.Route{Gw: cable.gateway.AsSlice()})
		})
		if err != nil {
			return err
		}
		if err := w.do(cable.namespace, "ethtool", "-K", "eth0", "tx", "off"); err != nil {
			return err
		}
	}
	if err := lab.In(w.director, func() error { return addAll("lo", []netip.Prefix{netip.PrefixFrom(webService.Addr(), 32)}) }); err != nil {
		return err
	}
	for _, namespace := range []string{w.client, w.director, w.servers} {
		err := lab.In(namespace, func() error {
			for path, value := range map[string]string{"ip_forward": "1", "ip_local_port_range": "1024 65535", "tcp_max_syn_backlog": "8192"} {
				if err := os.WriteFile("/proc/sys/net/ipv4/"+path, []byte(value), 0o644); err != nil {
					return err
				}
			}
			err := os.WriteFile("/proc/sys/net/core/somaxconn", []byte("8192"), 0o644)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// veth makes a cable from a namespace's eth0 to the director's end far.
func (w *webSite) veth(namespace, far string) error {
	return lab.In(namespace, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "eth0"
		veth := netlink.NewVeth(attrs)
		veth.PeerName = far
		other, err := os.Open("/run/netns/" + w.director)
		if err != nil {
			return err
		}
		defer other.Close()
		veth.PeerNamespace = netlink.NsFd(int(other.Fd()))
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("create a veth: %w", err)
		}
		return nil
	})
}

func addAll(ifname string, addresses []netip.Prefix) error {
	l, err := netlink.LinkByName(ifname)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(a)}); err != nil {
			return fmt.Errorf("address %s: %w", ifname, err)
		}
	}
	return nil
}

// each makes a line for each server.
func each(format string) string {
	var b strings.Builder
	for i, a := range servers {
		fmt.Fprintf(&b, format, i, netip.AddrPortFrom(a, webService.Port()))
	}
	return b.String()
}

func startFastlbNAT(poll string) func(*webSite) ([]string, error) {
	return func(w *webSite) ([]string, error) {
		config := fmt.Sprintf(`interfaces: [{name: eth0, attach: copy}, {name: eth1, attach: copy}]
workers: {cpus: "%d", poll: %s}
flows: {capacity: 1048576, state: ""}
metrics: {listen: ""}
api: {socket: %q}
services:
  - address: %q
    scheduler: rr
    forward: nat
    servers:
%s`, forwarderCPU, poll, w.base+".sock", webService, each("      - {address: \"%[2]s\"}\n"))
		argv := w.enter(w.director, w.binary, "run", "--config", w.base+".yaml")
		return argv, os.WriteFile(w.base+".yaml", []byte(config), 0o644)
	}
}

// startHAProxy: a thread a CPU, as its default is.
func startHAProxy(w *webSite) ([]string, error) {
	config := fmt.Sprintf(`global
	maxconn 4096
defaults
	mode tcp
	timeout connect 5s
	timeout client 30s
	timeout server 30s
listen web
	bind %s backlog 4096
	balance roundrobin
%s`, webService, each("\tserver s%[1]d %[2]s\n"))
	return []string{"haproxy", "-db", "-f", w.base + ".cfg"}, os.WriteFile(w.base+".cfg", []byte(config), 0o644)
}

// startNginx: a process a CPU, as Debian's configuration has it.
func startNginx(w *webSite) ([]string, error) {
	if _, err := os.Stat(nginxStream); err != nil {
		return nil, fmt.Errorf("%w: Debian's package libnginx-mod-stream has it (`make site-peers` installs it)", err)
	}
	config := fmt.Sprintf(`load_module %s;
daemon off;
worker_processes auto;
pid %s.pid;
error_log stderr;
events { worker_connections 16384; }
stream {
	upstream web {
%s	}
	server {
		listen %s backlog=4096;
		proxy_pass web;
	}
}
`, nginxStream, w.base, each("\t\tserver %[2]s;\n"), webService)
	return []string{"nginx", "-c", w.base + ".conf", "-e", "stderr"}, os.WriteFile(w.base+".conf", []byte(config), 0o644)
}

// measure lets the clients ask for a while.
func (c *contender) measure(mode string, parallel int, d time.Duration) (p proxied, failures uint64, err error) {
	self, err := os.Executable()
	if err != nil {
		return p, 0, err
	}
	own := func() (time.Duration, error) {
		if c.site.balancer == nil {
			return 0, nil
		}
		return treeTime(c.site.balancer.Pid())
	}
	ownBefore, err := own()
	if err != nil {
		return p, 0, err
	}
	busyBefore, err := busyTime()
	if err != nil {
		return p, 0, err
	}
	log := c.site.base + "-load.log"
	if err := os.WriteFile(log, nil, 0o644); err != nil {
		return p, 0, err
	}
	argv := []string{self, helperLoad, "-target", c.target.String(), "-parallel", fmt.Sprint(parallel), "-duration", d.String()}
	if mode == modeRequests {
		argv = append(argv, "-keep")
	}
	client, err := lab.StartIn(c.site.client, "the clients", log, argv...)
	if err != nil {
		return p, 0, err
	}
	if code := client.ExitCode(); code != 0 {
		return p, 0, fmt.Errorf("the clients ended with status %d: %s", code, client.Output())
	}
	busyAfter, err := busyTime()
	if err != nil {
		return p, 0, err
	}
	ownAfter, err := own()
	if err != nil {
		return p, 0, fmt.Errorf("%w; it printed:\n%s", err, c.site.balancer.Output())
	}
	var r loadResult
	if err := json.Unmarshal([]byte(client.Output()), &r); err != nil {
		return p, 0, fmt.Errorf("the clients printed %q: %w", client.Output(), err)
	}
	n := r.Connections
	if mode == modeRequests {
		n = r.Requests
	}
	if n == 0 {
		return p, 0, fmt.Errorf("nothing was answered: %d failures, the last: %s", r.Failures, r.Last)
	}
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(n) }
	return proxied{rate: float64(n) / r.Elapsed.Seconds(), own: us(ownAfter - ownBefore), machine: us(busyAfter - busyBefore)}, r.Failures, nil
}
