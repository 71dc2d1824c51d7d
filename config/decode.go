package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/fastlb/fastlb/service"
)

// Load reads and checks a configuration file. Its error is Faults where the file can be read and is wrong.
func Load(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(file, text)
}

// Parse understands a configuration's text; file names it in faults, and rules: files are found beside it. The error is
// Faults, all that there are.
func Parse(file string, text []byte) (*Config, error) {
	d := &decoder{file: file, source: strings.Split(string(text), "\n"), places: map[string]Place{}}
	c := Default()
	if root := d.document(text); root != nil {
		d.config(c, node{root, ""})
	}
	for _, f := range c.check() {
		f.Place = d.place(f.Key)
		d.faults = append(d.faults, f)
	}
	if len(d.faults) > 0 {
		d.faults.sort()
		return nil, d.faults
	}
	c.Warnings = append(d.warnings, c.doubts(d.place)...)
	c.Warnings.sort()
	return c, nil
}

// decoder walks the nodes of a file and collects what is wrong.
type decoder struct {
	file     string
	source   []string         // its lines
	places   map[string]Place // of each key met
	faults   Faults
	warnings Faults
}

// node is a YAML node with the key that leads to it.
type node struct {
	*yaml.Node
	key string
}

// document parses the text; nil: there is nothing in it, or it is not YAML.
func (d *decoder) document(text []byte) *yaml.Node {
	in := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	err := in.Decode(&first)
	if err == io.EOF {
		return nil
	}
	if err == nil {
		if err = in.Decode(&second); err == nil {
			d.faults = append(d.faults, Fault{Place: Place{d.file, second.Line, second.Column}, What: "a second document: a configuration is one"})
			return nil
		}
	}
	if err != io.EOF {
		f := Fault{Place: Place{File: d.file}, What: err.Error()}
		var syntax *yaml.LoadError
		if errors.As(err, &syntax) {
			f.Line, f.Column, f.What = syntax.Mark.Line, syntax.Mark.Column, syntax.Message
		}
		d.faults = append(d.faults, f)
		return nil
	}
	if len(first.Content) == 0 {
		return nil
	}
	return first.Content[0]
}

// place is where a key stands, or the nearest key around it.
func (d *decoder) place(key string) Place {
	for key != "" {
		if p, ok := d.places[key]; ok {
			return p
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return Place{File: d.file}
}

func (d *decoder) fault(n node, format string, args ...any) {
	d.faults = append(d.faults, Fault{Place: Place{d.file, n.Line, n.Column}, Key: n.key, What: fmt.Sprintf(format, args...)})
}

// field is a key of a mapping and what takes its value.
type field struct {
	name string
	take func(node)
}

// mapping gives each value to its field. Unknown and repeated keys are faults; a key without a value counts as not
// there.
func (d *decoder) mapping(n node, fields ...field) {
	d.pairs(n, func(name string, k, v node) {
		for _, f := range fields {
			if f.name == name {
				if v.Tag != "!!null" {
					f.take(v)
				}
				return
			}
		}
		names := make([]string, len(fields))
		for i := range fields {
			names[i] = fields[i].name
		}
		d.fault(k, "unknown key; known here are %s", strings.Join(names, ", "))
	})
}

// pairs calls f for each pair of a mapping.
func (d *decoder) pairs(n node, f func(name string, k, v node)) {
	if n.Kind != yaml.MappingNode {
		d.fault(n, "%s where a mapping (key: value) belongs", kindOf(n.Node))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := node{n.Content[i], ""}
		name := k.Value
		k.key = join(n.key, name)
		v := node{resolve(n.Content[i+1]), k.key}
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			k.key = n.key
			d.fault(k, "keys are plain words; merge keys are not taken")
			continue
		}
		if line, again := seen[name]; again {
			d.fault(k, "the key is already in line %d", line)
			continue
		}
		seen[name] = k.Line
		d.places[k.key] = Place{d.file, v.Line, v.Column}
		f(name, k, v)
	}
}

// list calls f for each element of a sequence.
func (d *decoder) list(n node, f func(node)) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, "%s where a list belongs", kindOf(n.Node))
		return
	}
	for i, c := range n.Content {
		e := node{resolve(c), fmt.Sprintf("%s[%d]", n.key, i)}
		d.places[e.key] = Place{d.file, e.Line, e.Column}
		f(e)
	}
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// kindOf says what a node is, for faults.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return fmt.Sprintf("the number %s", n.Value)
	case "!!bool":
		return n.Value
	case "!!null":
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}

// config decodes the whole file into c.
func (d *decoder) config(c *Config, root node) {
	var rules, services []Service
	d.mapping(root,
		field{"interfaces", func(n node) {
			d.list(n, func(n node) { c.Interfaces = append(c.Interfaces, d.iface(n)) })
		}},
		field{"workers", func(n node) { d.workers(n, &c.Workers) }},
		field{"flows", func(n node) {
			d.mapping(n,
				field{"capacity", func(n node) { store(d, n, &c.Flows.Capacity, 1, 1<<30) }},
				field{"state", d.text(&c.Flows.State)},
			)
		}},
		field{"timeouts", func(n node) {
			d.mapping(n,
				field{"tcp", d.seconds(&c.Timeouts.TCP)},
				field{"tcpfin", d.seconds(&c.Timeouts.TCPFin)},
				field{"udp", d.seconds(&c.Timeouts.UDP)},
			)
		}},
		field{"tunables", func(n node) { c.Tunables = d.tunables(n) }},
		field{"services", func(n node) {
			d.list(n, func(n node) {
				if s, ok := d.service(n); ok {
					services = append(services, s)
				}
			})
		}},
		field{"rules", func(n node) {
			var text string
			d.text(&text)(n)
			rules = d.rules(n, text)
		}},
		field{"marks", func(n node) {
			d.list(n, func(n node) { c.Marks = append(c.Marks, d.mark(n)) })
		}},
		field{"neighbors", func(n node) { c.Neighbors = d.neighbors(n) }},
		field{"routes", func(n node) {
			d.list(n, func(n node) {
				var r Route
				d.mapping(n, field{"to", d.prefix(&r.To)}, field{"via", d.addr(&r.Via)})
				c.Routes = append(c.Routes, r)
			})
		}},
		field{"log", func(n node) {
			d.mapping(n,
				field{"level", d.word(&c.Log.Level, "debug", "info", "warn", "error")},
				field{"format", d.word(&c.Log.Format, "console", "json")},
			)
		}},
		field{"metrics", func(n node) { d.mapping(n, field{"listen", d.text(&c.Metrics.Listen)}) }},
		field{"api", func(n node) {
			d.mapping(n, field{"socket", d.text(&c.API.Socket)}, field{"group", d.text(&c.API.Group)})
		}},
	)
	c.Services = append(rules, services...)
}

// iface decodes an element of interfaces.
func (d *decoder) iface(n node) Interface {
	i := NewInterface("")
	d.mapping(n,
		field{"name", d.text(&i.Name)},
		field{"attach", d.word(&i.Attach, "auto", "zerocopy", "copy", "generic")},
		field{"queues", func(n node) {
			if n.Kind == yaml.ScalarNode && n.Value == "all" {
				return
			}
			d.list(n, func(n node) {
				var q uint32
				if store(d, n, &q, 0, 65535) {
					i.Queues = append(i.Queues, int(q))
				}
			})
		}},
		field{"parent", d.text(&i.Parent)},
		field{"vlan", func(n node) { store(d, n, &i.VLAN, 1, 4094) }},
		field{"mac", d.mac(&i.MAC)},
		field{"addresses", func(n node) {
			d.list(n, func(n node) {
				if p, ok := d.network(n); ok {
					i.Addresses = append(i.Addresses, p)
				}
			})
		}},
		field{"mtu", func(n node) {
			var mtu uint32
			if store(d, n, &mtu, 68, 65535) {
				i.MTU = int(mtu)
			}
		}},
	)
	return i
}

// workers decodes workers.
func (d *decoder) workers(n node, w *Workers) {
	number := func(to *int, low, high int64) func(node) {
		return func(n node) {
			v := int64(*to)
			if storeWide(d, n, &v, low, high) {
				*to = int(v)
			}
		}
	}
	d.mapping(n,
		field{"cpus", func(n node) {
			if n.Kind != yaml.ScalarNode {
				d.fault(n, `%s where auto or a list such as "2-5,8" belongs`, kindOf(n.Node))
				return
			}
			cpus, err := ParseCPUs(n.Value)
			if err != nil {
				d.fault(n, "%v", err)
			}
			w.CPUs = cpus
		}},
		field{"batch", number(&w.Batch, math.MinInt32, math.MaxInt32)},
		field{"poll", d.word(&w.Poll, "busy", "adaptive", "interrupt")},
		field{"busy_poll", d.word(&w.BusyPoll, "auto", "on", "off")},
		field{"frames", number(&w.Frames, math.MinInt32, math.MaxInt32)},
		field{"hugepages", d.word(&w.Hugepages, "auto", "off", "required")},
		field{"numa", func(n node) {
			if n.Kind != yaml.ScalarNode || !isNUMA(n.Value) {
				d.fault(n, "%s where auto, off or the number of a node belongs", kindOf(n.Node))
				return
			}
			w.NUMA = n.Value
		}},
		field{"tune", d.word(&w.Tune, "auto", "off")},
	)
}

// tunables decodes tunables; their names and values are checked with the rest.
func (d *decoder) tunables(n node) (list []Tunable) {
	d.pairs(n, func(name string, _, v node) {
		t := Tunable{Name: name, Value: v.Value}
		if v.Kind == yaml.SequenceNode {
			var words []string
			for _, c := range v.Content {
				words = append(words, c.Value)
			}
			t.Value = strings.Join(words, " ")
		} else if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
			d.fault(v, "%s where a value belongs", kindOf(v.Node))
			return
		}
		switch v.Tag {
		case "!!bool": // as people write switches
			t.Value = map[bool]string{true: "1", false: "0"}[strings.EqualFold(v.Value, "true")]
		}
		list = append(list, t)
	})
	return list
}

// mark decodes an element of marks.
func (d *decoder) mark(n node) (m service.Mark) {
	d.mapping(n,
		field{"mark", func(n node) { store(d, n, &m.Mark, 1, math.MaxUint32) }},
		field{"destination", d.prefix(&m.Destination)},
		field{"protocol", d.protocol(&m.Protocol)},
		field{"ports", func(n node) {
			d.list(n, func(n node) {
				var p uint16
				if store(d, n, &p, 0, math.MaxUint16) {
					m.Ports = append(m.Ports, p)
				}
			})
		}},
	)
	return m
}

// neighbors decodes neighbors.
func (d *decoder) neighbors(n node) (list []Neighbor) {
	d.pairs(n, func(name string, k, v node) {
		var e Neighbor
		d.addr(&e.Addr)(node{k.Node, k.key})
		d.mac(&e.MAC)(v)
		list = append(list, e)
	})
	return list
}

// rules decodes rules: the name of a file, or the rules themselves.
func (d *decoder) rules(n node, text string) []Service {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return nil
	}
	if strings.HasPrefix(trimmed, "-") || strings.HasPrefix(trimmed, "ipvsadm ") || strings.HasPrefix(trimmed, "#") || strings.Contains(trimmed, "\n") {
		first := n.Line
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			first++
		}
		return d.ruleLines(n.key, Place{File: d.file, Line: first}, text)
	}
	file := trimmed
	if !filepath.IsAbs(file) {
		file = filepath.Join(filepath.Dir(d.file), file)
	}
	rules, err := os.ReadFile(file)
	if err != nil {
		d.fault(n, "%v", err)
		return nil
	}
	return d.ruleLines(n.key, Place{File: file, Line: 1}, string(rules))
}
