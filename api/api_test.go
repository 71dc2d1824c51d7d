package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/service"
)

// table is a Director that answers with what it was given.
type table struct {
	services []control.ServiceEntry
	ops      []control.Op
	refuse   map[control.Kind]error
	conns    int
	breakAt  int
}

func (d *table) Apply(ops []control.Op) (int, error) {
	for i, op := range ops {
		if err := d.refuse[op.Kind]; err != nil {
			return i, err
		}
		d.ops = append(d.ops, op)
	}
	return len(ops), nil
}

func (d *table) Info() (control.Info, error) {
	return control.Info{Version: [3]uint8{1, 2, 1}, Size: 4096}, nil
}
func (d *table) Services() ([]control.ServiceEntry, error) { return d.services, nil }
func (d *table) Ages() ([]control.ServiceEntry, error) {
	list := slices.Clone(d.services)
	list[0].Servers = slices.Clone(list[0].Servers)
	list[0].Servers[0].Ages = &control.Ages{Recent: 1, Minute: 2, Longer: 3, Waiting: 1}
	return list, nil
}
func (d *table) Connections(yield func(control.ConnEntry) error) error {
	for i := range d.conns {
		if i == d.breakAt && i > 0 {
			return errors.New("the table went away")
		}
		if err := yield(conn(i)); err != nil {
			return err
		}
	}
	return nil
}

func conn(i int) control.ConnEntry {
	return control.ConnEntry{Protocol: 6, State: "ESTABLISHED", Expires: uint32(i),
		Client:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), uint16(i)),
		Virtual: netip.MustParseAddrPort("192.0.2.10:80"), Server: netip.MustParseAddrPort("10.0.0.11:80")}
}

func (d *table) Timeouts() (service.Timeouts, error) { return service.DefaultTimeouts, nil }
func (d *table) Daemons() ([]control.Daemon, error)  { return nil, nil }
func (d *table) Status() (director.Status, error) {
	return director.Status{Version: "1.2.3", PID: 7, Workers: []director.WorkerStatus{{RXPackets: 5, Drops: map[string]uint64{"runt": 2}}}}, nil
}
func (d *table) Reload() (director.Reloaded, error) {
	return director.Reloaded{Changes: []string{"add service tcp 192.0.2.10:80"}}, nil
}

// serve answers for d on a socket of the test's own.
func serve(t *testing.T, d Director) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run", "api.sock")
	l, warning, err := Listen(path, "no-such-group")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(warning, "no-such-group") {
		t.Errorf("warning %q", warning)
	}
	s := NewServer(d)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v %v, want 0660", info.Mode(), err)
	}
	if _, _, err := Listen(path, ""); !errors.Is(err, ErrInUse) {
		t.Errorf("second director on the socket: %v, want %v", err, ErrInUse)
	}
	return NewClient(path)
}

var listing = []control.ServiceEntry{
	{
		Spec:  service.Spec{ID: service.ID{Family: 4, Protocol: 6, Addr: netip.MustParseAddr("192.0.2.10"), Port: 80}, Scheduler: "wlc", Flags: 3, Persistent: true, Timeout: 300, Netmask: 0xffffff00, Engine: "sip"},
		Stats: service.Stats{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: 4, OutBytes: 1 << 60},
		Rates: service.Stats{Conns: 9},
		Servers: []control.ServerEntry{
			{Spec: service.ServerSpec{ServerID: service.ServerID{Addr: netip.MustParseAddr("10.0.0.11"), Port: 8080}, Weight: -1, Upper: 5, Lower: 2}, Active: 1, Inactive: 2, Persistent: 3, Stats: service.Stats{InPkts: 7}},
			{Spec: service.ServerSpec{ServerID: service.ServerID{Addr: netip.MustParseAddr("2001:db8::11"), Port: 80}, Method: service.Tunnel, Weight: 3, Tunnel: service.GUE, TunPort: 5555, TunSum: service.RemoteChecksum}},
		},
	},
	{Spec: service.Spec{ID: service.ID{Family: 6, Protocol: 17, Addr: netip.MustParseAddr("2001:db8::10"), Port: 53}, Scheduler: "rr", OnePacket: true, Netmask: 128}, Servers: []control.ServerEntry{}},
	{Spec: service.Spec{ID: service.ID{Family: 6, Mark: 7}, Scheduler: "none", Netmask: 128}, Servers: []control.ServerEntry{}},
	{Spec: service.Spec{ID: service.ID{Family: 4, Mark: 8}, Scheduler: "none"}, Servers: []control.ServerEntry{}},
}

func TestListingsArriveAsTheyWere(t *testing.T) {
	c := serve(t, &table{services: listing})
	got, err := c.Services()
	if err != nil || !reflect.DeepEqual(got, listing) {
		t.Errorf("services %+v, %v\nwant %+v", got, err, listing)
	}
	if i, err := c.Info(); err != nil || i.Size != 4096 || i.Version != [3]uint8{1, 2, 1} {
		t.Errorf("info %+v, %v", i, err)
	}
	if v, err := c.Timeouts(); err != nil || v != service.DefaultTimeouts {
		t.Errorf("timeouts %+v, %v", v, err)
	}
	if d, err := c.Daemons(); err != nil || len(d) != 0 {
		t.Errorf("daemons %+v, %v", d, err)
	}
	if s, err := c.Status(); err != nil || s.Version != "1.2.3" || s.Workers[0].Drops["runt"] != 2 {
		t.Errorf("status %+v, %v", s, err)
	}
	if r, err := c.Reload(); err != nil || len(r.Changes) != 1 {
		t.Errorf("reload %+v, %v", r, err)
	}
}

func TestAges(t *testing.T) {
	c := serve(t, &table{services: listing})
	got, err := c.Ages()
	if err != nil || got[0].Servers[0].Ages == nil || *got[0].Servers[0].Ages != (control.Ages{Recent: 1, Minute: 2, Longer: 3, Waiting: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	var one Service
	if err := c.call(http.MethodGet, "/v1/services/tcp:192.0.2.10:80?ages=1", nil, &one); err != nil || one.Servers[0].Ages == nil || one.Servers[1].Ages != nil {
		t.Errorf("%+v, %v", one, err)
	}
	if err := c.call(http.MethodGet, "/v1/services?ages=young", nil, &one); !errors.Is(err, service.ErrInvalid) {
		t.Errorf("ages=young: %v", err)
	}
}

func TestIDs(t *testing.T) {
	for _, e := range listing {
		s := FormatID(e.Spec.ID)
		if id, err := ParseID(s); err != nil || id != e.Spec.ID {
			t.Errorf("%s: %+v, %v", s, id, err)
		}
	}
	for _, s := range []string{"", "tcp", "tcp:", "tcp:1.2.3.4", "mark:", "mark:0", "mark:x", "mark:1:4", "icmp:1.2.3.4:5"} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("%q: accepted", s)
		}
	}
}

func TestServersOfAService(t *testing.T) {
	c := serve(t, &table{services: listing})
	var servers []Server
	if err := c.call(http.MethodGet, "/v1/services/tcp:192.0.2.10:80/servers", nil, &servers); err != nil || len(servers) != 2 || servers[1].Tunnel.Type != "gue" {
		t.Errorf("servers %+v, %v", servers, err)
	}
	if err := c.call(http.MethodGet, "/v1/services/udp:[2001:db8::10]:53/servers", nil, &servers); err != nil || len(servers) != 0 {
		t.Errorf("servers %+v, %v", servers, err)
	}
	var s Service
	if err := c.call(http.MethodGet, "/v1/services/tcp:192.0.2.10:81", nil, &s); !errors.Is(err, service.ErrNoService) {
		t.Errorf("no service: %v", err)
	}
	if err := c.call(http.MethodGet, "/v1/services/tcp:192.0.2.10", nil, &s); !errors.Is(err, service.ErrInvalid) {
		t.Errorf("bad name: %v", err)
	}
}

func TestOperations(t *testing.T) {
	ops := []control.Op{
		{Kind: control.AddService, Service: listing[0].Spec},
		{Kind: control.AddServer, Service: listing[0].Spec, Server: listing[0].Servers[1].Spec},
		{Kind: control.SetTimeouts, Timeouts: service.Timeouts{TCP: 1, UDP: 3}},
		{Kind: control.SetMarks, Marks: []service.Mark{{Mark: 1, Destination: netip.MustParsePrefix("192.0.2.0/28"), Protocol: 6, Ports: []uint16{80}}, {Mark: 2}}},
		{Kind: control.SetTunable, Name: "expire_nodest_conn", Value: "1"},
		{Kind: control.Zero},
	}
	d := &table{refuse: map[control.Kind]error{
		control.DeleteServer: fmt.Errorf("tcp 192.0.2.10:80: server 10.0.0.99:80: %w", service.ErrNoServer),
		control.StartDaemon:  &control.NotYet{What: "connection synchronisation daemons"},
		control.StopDaemon:   errors.New("broken"),
		control.Flush:        fmt.Errorf("odd: %w", &service.Error{Errno: syscall.EBUSY, What: "busy"}),
	}}
	c := serve(t, d)
	if n, err := c.Apply(ops); err != nil || n != len(ops) {
		t.Fatalf("applied %d, %v", n, err)
	}
	if !reflect.DeepEqual(d.ops, ops) {
		t.Errorf("arrived %+v\nwant    %+v", d.ops, ops)
	}
	n, err := c.Apply([]control.Op{ops[0], {Kind: control.DeleteServer}, ops[1]})
	var refused *service.Error
	if n != 1 || !errors.Is(err, service.ErrNoServer) || !errors.As(err, &refused) || !errors.Is(err, syscall.ENOENT) || err.Error() != "tcp 192.0.2.10:80: server 10.0.0.99:80: no such destination" {
		t.Errorf("refusal: %d, %v", n, err)
	}
	var notYet *control.NotYet
	if err := c.Do(control.Op{Kind: control.StartDaemon}); !errors.As(err, &notYet) || notYet.What != "connection synchronisation daemons" {
		t.Errorf("not yet: %v", err)
	}
	if err := c.Do(control.Op{Kind: control.StopDaemon}); err == nil || errors.As(err, &refused) || err.Error() != "broken" {
		t.Errorf("broken: %v", err)
	}
	if err := c.Do(control.Op{Kind: control.Flush}); !errors.As(err, &refused) || refused.Errno != syscall.EBUSY || refused.What != "busy" {
		t.Errorf("unknown refusal: %v", err)
	}
	for name, body := range map[string]string{"not JSON": "{", "unknown field": `[{"op":"zero","colour":1}]`, "more": "[] []"} {
		resp, err := c.do(http.MethodPost, "/v1/ops", strings.NewReader(body))
		var e *Error
		if !errors.As(err, &e) || e.Status != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
}

func TestConnectionsStream(t *testing.T) {
	c := serve(t, &table{conns: 20000})
	n := 0
	if err := c.Connections(func(e control.ConnEntry) error {
		if e != conn(n) {
			t.Fatalf("connection %d: %+v", n, e)
		}
		n++
		return nil
	}); err != nil || n != 20000 {
		t.Errorf("%d connections, %v", n, err)
	}
	stop := errors.New("enough")
	if err := c.Connections(func(control.ConnEntry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped with %v", err)
	}
	broken := serve(t, &table{conns: 20000, breakAt: 19000})
	n = 0
	if err := broken.Connections(func(control.ConnEntry) error { n++; return nil }); err == nil || n > 19000 {
		t.Errorf("a broken listing looks whole: %d, %v", n, err)
	}
}

func TestNobodyThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := NewClient(path).Info(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := NewClient(path).Info(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("stale socket: %v", err)
	}
	fresh, _, err := Listen(path, "")
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	if err := fresh.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket outlived its listener: %v", err)
	}
}

// A file that is no socket is somebody's: it is not replaced.
func TestListenKeepsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, _, err := Listen(path, ""); err == nil {
		l.Close()
		t.Error("listens in the place of a file")
	}
	if b, err := os.ReadFile(path); string(b) != "mine" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}

// Masks are shown as the configuration file has them.
func TestMasks(t *testing.T) {
	for _, v := range []struct {
		family  uint8
		netmask uint32
		want    string
	}{{4, 0xffffffff, "32"}, {4, 0xffffff00, "24"}, {4, 0, "0"}, {4, 0xff00ff00, `"255.0.255.0"`}, {6, 128, "128"}, {6, 64, "64"}} {
		b, err := json.Marshal(maskOf(v.family, v.netmask))
		if err != nil || string(b) != v.want {
			t.Errorf("%#x: %s, %v, want %s", v.netmask, b, err, v.want)
		}
		var m Mask
		if err := json.Unmarshal(b, &m); err != nil || m.netmask(v.family) != v.netmask {
			t.Errorf("%s comes back as %#x, %v", b, m.netmask(v.family), err)
		}
	}
}

func TestUnknownResource(t *testing.T) {
	c := serve(t, &table{})
	_, err := c.do(http.MethodGet, "/v2/", nil)
	var e *Error
	if !errors.As(err, &e) || e.Status != http.StatusNotFound {
		t.Errorf("unknown resource: %v", err)
	}
	_, err = c.do(http.MethodDelete, "/v1/services/tcp:192.0.2.10:80", nil)
	if !errors.As(err, &e) || e.Status != http.StatusMethodNotAllowed || !strings.HasSuffix(e.Detail, "use GET") {
		t.Errorf("a method that a resource has not: %v", err)
	}
	_, err = c.do(http.MethodGet, "/v1/reload", nil)
	if !errors.As(err, &e) || e.Status != http.StatusMethodNotAllowed || !strings.HasSuffix(e.Detail, "use POST") {
		t.Errorf("GET of an action: %v", err)
	}
	resp, err := c.http.Get("http://fastlb/v1/daemons")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "[]\n" {
		t.Errorf("daemons %q", b)
	}
}
