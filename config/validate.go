package config

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fastlb/fastlb/ipvsadm"
	"github.com/fastlb/fastlb/service"
)

// Validate checks a configuration that did not come from a file, or was changed since; the error is Faults.
func (c *Config) Validate() error {
	if f := c.check(); len(f) > 0 {
		return f
	}
	return nil
}

// checker collects what is wrong.
type checker struct{ faults Faults }

func (k *checker) add(key, format string, args ...any) {
	k.faults = append(k.faults, Fault{Key: key, What: fmt.Sprintf(format, args...)})
}

// within adds a fault where v is out of bounds.
func (k *checker) within(key string, v, low, high int) {
	if v < low || v > high {
		k.add(key, "%d is not within %d and %d", v, low, high)
	}
}

// oneOf adds a fault where v is none of words.
func (k *checker) oneOf(key, v string, words ...string) {
	if !slices.Contains(words, v) {
		k.add(key, "%q is not one of %s", v, strings.Join(words, ", "))
	}
}

// check finds every fault but those of form.
func (c *Config) check() Faults {
	k := &checker{}
	k.interfaces(c)
	k.within("workers.batch", c.Workers.Batch, 1, 256)
	k.within("workers.frames", c.Workers.Frames, 64, 1<<20)
	k.oneOf("workers.poll", c.Workers.Poll, "busy", "adaptive", "interrupt")
	k.oneOf("workers.busy_poll", c.Workers.BusyPoll, "auto", "on", "off")
	if c.Workers.BusyPoll == "on" && c.Workers.Poll == "interrupt" {
		k.add("workers.busy_poll", "on holds off the interrupts that poll: interrupt waits for; take poll: busy or adaptive")
	}
	k.oneOf("workers.hugepages", c.Workers.Hugepages, "auto", "off", "required")
	if !isNUMA(c.Workers.NUMA) {
		k.add("workers.numa", "%q is not auto, off or the number of a node", c.Workers.NUMA)
	}
	k.oneOf("workers.tune", c.Workers.Tune, "auto", "off")
	if c.Flows.Capacity == 0 {
		k.add("flows.capacity", "a table of no connections forwards nothing")
	}
	k.path("flows.state", c.Flows.State)
	k.path("api.socket", c.API.Socket)
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "console", "json")
	if l := c.Metrics.Listen; l != "" {
		if _, port, err := net.SplitHostPort(l); err != nil || port == "" {
			k.add("metrics.listen", `%q is not ADDRESS:PORT such as "127.0.0.1:9108", or "" for none`, l)
		}
	}
	for name, v := range map[string]uint32{"tcp": c.Timeouts.TCP, "tcpfin": c.Timeouts.TCPFin, "udp": c.Timeouts.UDP} {
		if v == 0 {
			k.add(join("timeouts", name), "a timeout is at least 1s")
		}
	}
	t := service.DefaultTunables()
	for _, v := range c.Tunables {
		if !slices.Contains(t.Names(), v.Name) {
			k.add(join("tunables", v.Name), "there is no such tunable; known are %s", strings.Join(t.Names(), ", "))
		} else if err := t.Set(v.Name, v.Value); err != nil {
			k.add(join("tunables", v.Name), "%v", err)
		}
	}
	k.services(c)
	for i, m := range c.Marks {
		if m.Mark == 0 {
			k.add(fmt.Sprintf("marks[%d]", i), "a rule needs mark: a number greater than 0")
		}
	}
	for i, r := range c.Routes {
		switch key := fmt.Sprintf("routes[%d]", i); {
		case !r.To.IsValid():
			k.add(key, "a route needs to: a prefix")
		case !r.Via.IsValid():
			k.add(key, "a route needs via: the address of a router")
		case r.To.Addr().Is4() != r.Via.Is4():
			k.add(key, "%s and %s are of different families", r.To, r.Via)
		}
	}
	return k.faults
}

// path checks the name of a file that must not depend on where the director is started.
func (k *checker) path(key, p string) {
	if p != "" && !filepath.IsAbs(p) {
		k.add(key, "%q is not an absolute path", p)
	}
}

func (k *checker) interfaces(c *Config) {
	names := map[string]int{}
	for i, f := range c.Interfaces {
		key := fmt.Sprintf("interfaces[%d]", i)
		switch at, again := names[f.Name]; {
		case f.Name == "":
			k.add(key, "an interface needs name:")
		case len(f.Name) > 15 || strings.ContainsAny(f.Name, "/ \t\n"):
			k.add(join(key, "name"), "%q is no interface name: at most 15 bytes, no blank, no /", f.Name)
		case again:
			k.add(join(key, "name"), "%s is already interfaces[%d]", f.Name, at)
		}
		names[f.Name] = i
		k.oneOf(join(key, "attach"), f.Attach, "auto", "zerocopy", "copy", "generic")
		for j, q := range f.Queues {
			if slices.Contains(f.Queues[:j], q) {
				k.add(join(key, "queues"), "queue %d stands there twice", q)
			}
		}
		if (f.Parent == "") != (f.VLAN == 0) {
			k.add(key, "a VLAN interface has both parent: and vlan:")
		}
	}
	for i, f := range c.Interfaces {
		if _, ok := names[f.Parent]; f.Parent != "" && !ok {
			k.add(fmt.Sprintf("interfaces[%d].parent", i), "%s is not among the interfaces: its frames would not be seen; add it", f.Parent)
		}
	}
}

// keyOf is where a service stands.
func (c *Config) keyOf(i int) string {
	if k := c.Services[i].key; k != "" {
		return k
	}
	return fmt.Sprintf("services[%d]", i)
}

// serverKeyOf is where a server stands.
func (c *Config) serverKeyOf(i, j int) string {
	if k := c.Services[i].serverKeys; j < len(k) {
		return k[j]
	}
	return fmt.Sprintf("%s.servers[%d]", c.keyOf(i), j)
}

func (k *checker) services(c *Config) {
	seen := map[service.ID]string{}
	for i := range c.Services {
		s, key := &c.Services[i], c.keyOf(i)
		if at, again := seen[s.ID]; again {
			k.add(key, "service %s is already %s", s.ID, at)
		}
		seen[s.ID] = key
		if s.Scheduler != service.None && !slices.Contains(ipvsadm.Schedulers(), s.Scheduler) {
			k.add(join(key, "scheduler"), "there is no scheduler %q; known are %s", s.Scheduler, strings.Join(ipvsadm.Schedulers(), " "))
		}
		if s.Engine != "" && s.Engine != "sip" {
			k.add(join(key, "persistence_engine"), "there is no persistence engine %q; the only one is sip", s.Engine)
		}
		if s.Mark == 0 {
			if s.Port == 0 && !s.Persistent {
				k.add(join(key, "address"), "port 0 (every port) needs persistent:")
			}
			if s.OnePacket && s.Protocol != service.UDP {
				k.add(join(key, "one_packet"), "one-packet scheduling is for UDP services")
			}
		}
		servers := map[service.ServerID]bool{}
		for j := range s.Servers {
			v, key := &s.Servers[j], c.serverKeyOf(i, j)
			if servers[v.ServerID] {
				k.add(key, "service %s has server %s already", s.ID, v.ServerID)
			}
			servers[v.ServerID] = true
			k.server(key, s, v)
		}
	}
}

// server checks one server as the kernel and ipvsadm do.
func (k *checker) server(key string, s *Service, v *service.ServerSpec) {
	if a := v.Addr; a.IsValid() && (a.IsMulticast() || a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})) {
		k.add(join(key, "address"), "%s is no unicast address", a)
	}
	if v.Addr.IsValid() && familyOf(v.Addr) != s.Family && v.Method != service.Tunnel {
		k.add(join(key, "address"), "%s is of another family than service %s: only forward: tunnel can bridge that", v.Addr, s.ID)
	}
	if v.Lower > v.Upper {
		k.add(join(key, "lower_threshold"), "%d is above upper_threshold %d", v.Lower, v.Upper)
	}
	tunnel := join(key, "tunnel")
	if v.Method != service.Tunnel {
		if v.Tunnel != service.IPIP || v.TunPort != 0 || v.TunSum != service.NoChecksum {
			k.add(tunnel, "the server is forwarded to by %s: tunnel: goes with forward: tunnel", v.Method)
		}
		return
	}
	switch {
	case v.Tunnel == service.GUE && v.TunPort == 0:
		k.add(tunnel, "gue needs port: where the server receives it")
	case v.Tunnel != service.GUE && v.TunPort != 0:
		k.add(tunnel, "only gue has a port")
	case v.Tunnel == service.IPIP && v.TunSum != service.NoChecksum:
		k.add(tunnel, "ipip has no checksum of its own")
	case v.Tunnel == service.GRE && v.TunSum == service.RemoteChecksum:
		k.add(tunnel, "only gue has remcsum")
	}
}

// doubts finds what is valid and yet likely a mistake.
func (c *Config) doubts(place func(key string) Place) (w Faults) {
	add := func(key, format string, args ...any) {
		w = append(w, Fault{place(key), key, fmt.Sprintf(format, args...)})
	}
	for i := range c.Services {
		s := &c.Services[i]
		if s.Mark != 0 && !slices.ContainsFunc(c.Marks, func(m service.Mark) bool { return m.Mark == s.Mark }) {
			add(c.keyOf(i), "no rule of marks: gives mark %d: the service gets no packet", s.Mark)
		}
		if len(s.Servers) == 0 {
			add(c.keyOf(i), "service %s has no server: its clients are refused", s.ID)
		} else if !slices.ContainsFunc(s.Servers, func(v service.ServerSpec) bool { return v.Weight > 0 }) {
			add(c.keyOf(i), "every server of %s has weight 0: new clients are refused", s.ID)
		}
	}
	for i, m := range c.Marks {
		if !slices.ContainsFunc(c.Services, func(s Service) bool { return s.Mark == m.Mark }) {
			add(fmt.Sprintf("marks[%d]", i), "no service has mark %d", m.Mark)
		}
	}
	return w
}
