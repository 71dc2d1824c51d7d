package api

import (
	"bytes"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/flow"
	"github.com/fastlb/fastlb/internal/clock"
	"github.com/fastlb/fastlb/ipvsadm"
	"github.com/fastlb/fastlb/service"
)

// real is the real table behind the API, without a director around it.
type real struct {
	*control.Control
	now clock.Time
}

func (r *real) Apply(ops []control.Op) (int, error) {
	for i, op := range ops {
		if err := r.Control.Apply(op, r.now); err != nil {
			return i, err
		}
	}
	return len(ops), nil
}

func (r *real) Connections(yield func(control.ConnEntry) error) error {
	return r.ConnectionsAt(r.now, yield)
}
func (r *real) Ages() ([]control.ServiceEntry, error) {
	list, err := r.Services()
	r.AddAges(list, r.now)
	return list, err
}
func (r *real) Status() (director.Status, error)   { return director.Status{}, nil }
func (r *real) Reload() (director.Reloaded, error) { return director.Reloaded{}, nil }

// TestIpvsadmOverTheSocket runs ipvsadm against the table over the API.
func TestIpvsadmOverTheSocket(t *testing.T) {
	flows, err := flow.New(make([]byte, flow.Size(64)), flow.Config{Capacity: 64, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := serve(t, &real{Control: control.New(control.Options{Slots: service.HeapSlots(16), Flows: flows})})
	for _, step := range []struct {
		args   string
		status int
		out    string
	}{
		{"-A -t 192.0.2.10:80 -s rr", 0, ""},
		{"-A -t 192.0.2.10:80 -s rr", 2, "Service already exists"},
		{"-a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 3", 0, ""},
		{"-a -t 192.0.2.11:80 -r 10.0.0.11 -m", 2, "Service not defined"},
		{"-A -u [2001:db8::10]:53 -s sh -p 60", 0, ""},
		{"-a -u [2001:db8::10]:53 -r [2001:db8::11]:53 -i --tun-type gue --tun-port 6080", 0, ""},
		{"--set 100 0 7", 0, ""},
		{"-l --timeout", 0, "Timeout (tcp tcpfin udp): 100 120 7"},
		{"-Sn", 0, "-a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 3"},
		{"-Ln", 0, "IP Virtual Server version 1.2.1 (size=64)"},
		{"-Lnc", 0, "IPVS connection entries"},
		{"-C", 0, ""},
		{"-Sn", 0, ""},
	} {
		var out bytes.Buffer
		status := ipvsadm.Main("ipvsadm", strings.Fields(step.args), strings.NewReader(""), &out, &out, c)
		if (status != 0) != (step.status != 0) || !strings.Contains(out.String(), step.out) {
			t.Errorf("ipvsadm %s: status %d, %q; want %d, %q", step.args, status, out.String(), step.status, step.out)
		}
	}
}
