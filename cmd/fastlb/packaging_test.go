package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fastlb/fastlb/api"
	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/service"
)

// unit is a unit file: values by section and key, in the order they stand.
type unit map[string][]string

// readUnit reads a file of packaging, strictly: sections, keys with values, comments.
func readUnit(t *testing.T, name string) unit {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../packaging", name))
	if err != nil {
		t.Fatal(err)
	}
	u, section := unit{}, ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" || strings.TrimSpace(key) != key {
			t.Fatalf("%s: %q is no setting", name, line)
		}
		u[section+"."+key] = append(u[section+"."+key], value)
	}
	return u
}

// words splits a command line of a unit as systemd does: quotes hold together, $$ is a dollar.
func words(line string) (list []string) {
	var word strings.Builder
	in, quote := false, rune(0)
	for _, r := range strings.ReplaceAll(line, "$$", "$") {
		switch {
		case r == quote:
			quote = 0
		case quote != 0 || r != ' ' && r != '\'' && r != '"':
			word.WriteRune(r)
			in = true
		case r == ' ':
			if in {
				list = append(list, word.String())
			}
			word.Reset()
			in = false
		default:
			quote, in = r, true
		}
	}
	if in {
		list = append(list, word.String())
	}
	return list
}

// TestUnits checks what the units promise, and asks systemd where it is installed.
func TestUnits(t *testing.T) {
	main, rules := readUnit(t, "fastlb.service"), readUnit(t, "fastlb-ipvsadm.service")
	for _, c := range []struct {
		unit unit
		key  string
		want []string
	}{
		{main, "Service.Type", []string{"notify"}},
		{main, "Service.Group", []string{"fastlb"}},
		{main, "Service.ExecStart", []string{"/usr/bin/fastlb run --config " + defaultConfig}},
		{main, "Service.ExecReload", []string{"/usr/bin/fastlb reload"}},
		{main, "Service.RuntimeDirectory", []string{filepath.Base(filepath.Dir(defaultSocket))}},
		{main, "Service.RuntimeDirectoryPreserve", []string{"yes"}},
		{main, "Install.WantedBy", []string{"multi-user.target"}},
		{rules, "Service.Type", []string{"oneshot"}},
		{rules, "Unit.After", []string{"fastlb.service"}},
		{rules, "Unit.ConditionPathExists", []string{"|/etc/ipvsadm.rules", "|/etc/sysconfig/ipvsadm"}},
		{rules, "Install.WantedBy", []string{"multi-user.target"}},
	} {
		if !slices.Equal(c.unit[c.key], c.want) {
			t.Errorf("%s is %q, want %q", c.key, c.unit[c.key], c.want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not installed: only the structure was checked")
		return
	}
	dir := t.TempDir()
	for _, name := range []string{"fastlb.service", "fastlb-ipvsadm.service"} {
		b, err := os.ReadFile(filepath.Join("../../packaging", name))
		if err != nil {
			t.Fatal(err)
		}
		b = []byte(strings.ReplaceAll(string(b), "/usr/bin/fastlb", "/bin/true")) // it looks for the program
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, "fastlb.service"), filepath.Join(dir, "fastlb-ipvsadm.service")).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) || strings.Contains(line, "fastlb") {
			t.Errorf("systemd-analyze: %s (%v)", strings.TrimSpace(line), err)
		}
	}
}

// TestExampleConfig holds that the example is valid.
func TestExampleConfig(t *testing.T) {
	got := call(t, "fastlb", "check", "--config", "../../packaging/fastlb.yaml")
	if got.status != done || got.stderr != "" || !strings.Contains(got.stdout, "192.0.2.20:443") {
		t.Errorf("%+v", got)
	}
}

// desk is a Director without a dataplane.
type desk struct {
	*control.Control
	reloads int
}

func (d *desk) Apply(ops []control.Op) (int, error) {
	for i, op := range ops {
		if err := d.Control.Apply(op, 0); err != nil {
			return i, err
		}
	}
	return len(ops), nil
}
func (d *desk) Ages() ([]control.ServiceEntry, error)           { return d.Services() }
func (d *desk) Connections(func(control.ConnEntry) error) error { return nil }
func (d *desk) Status() (director.Status, error)                { return director.Status{}, nil }
func (d *desk) Reload() (director.Reloaded, error)              { d.reloads++; return director.Reloaded{}, nil }

// TestUnitCommands runs the command lines of the units, with the files that they read in a directory of the test's.
func TestUnitCommands(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "fastlb")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	socket := filepath.Join(dir, "fastlb.sock")
	l, _, err := api.Listen(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{Control: control.New(control.Options{Slots: service.HeapSlots(16)})}
	s := api.NewServer(d)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	run := func(line string) error {
		t.Helper()
		argv := words(strings.NewReplacer("/usr/bin/fastlb", binary, "/etc/", dir+"/etc/").Replace(line))
		c := exec.Command(argv[0], argv[1:]...)
		c.Env = append(os.Environ(), "FASTLB_SOCKET="+socket)
		out, err := c.CombinedOutput()
		t.Logf("%s: %v %s", line, err, out)
		return err
	}
	saved := func() string {
		t.Helper()
		got := call(t, "fastlb", "--socket", socket, "ipvsadm", "-Sn")
		return got.stdout
	}
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	main, rules := readUnit(t, "fastlb.service"), readUnit(t, "fastlb-ipvsadm.service")
	if err := run(main["Service.ExecReload"][0]); err != nil || d.reloads != 1 {
		t.Errorf("reload: %v, %d reloads", err, d.reloads)
	}
	restore := rules["Service.ExecStart"][0]
	if err := run(restore); err != nil || saved() != "" {
		t.Errorf("without a file: %v, %q", err, saved())
	}
	redHat, debian := "-A -t 192.0.2.1:80 -s rr\n", "-A -u 192.0.2.2:53 -s wlc\n-a -u 192.0.2.2:53 -r 10.0.0.1:53 -m -w 3\n"
	write("etc/sysconfig/ipvsadm", redHat)
	if err := run(restore); err != nil || saved() != redHat {
		t.Errorf("Red Hat's file: %v, %q", err, saved())
	}
	call(t, "fastlb", "--socket", socket, "ipvsadm", "-C")
	write("etc/ipvsadm.rules", "# ipvsadm.rules\n\n"+debian)
	if err := run(restore); err != nil || saved() != debian {
		t.Errorf("Debian's file, which goes before: %v, %q", err, saved())
	}
	call(t, "fastlb", "--socket", socket, "ipvsadm", "-C")
	write("etc/ipvsadm.rules", "# empty rules file for ipvsadm\n")
	if err := run(restore); err != nil || saved() != "" {
		t.Errorf("an empty file: %v, %q", err, saved())
	}
	write("etc/ipvsadm.rules", "-A -t 192.0.2.1:80 -s nonsense\n")
	if err := run(restore); err == nil {
		t.Error("a bad rule is no failure")
	}
	// The director itself gets as far as its interface, which nobody has.
	write("etc/fastlb/fastlb.yaml", "interfaces: [{name: fastlb-none}]\nflows: {state: \"\"}\nmetrics: {listen: \"\"}\napi: {socket: "+dir+"/other.sock}\n")
	argv := words(strings.NewReplacer("/usr/bin/fastlb", binary, "/etc/", dir+"/etc/").Replace(main["Service.ExecStart"][0]))
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != failed || strings.Contains(string(out), "flag") {
		t.Errorf("run: %v: %s", err, out)
	}
}

// TestNotify is the service manager's side of it.
func TestNotify(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := &env{getenv: func(string) string { return name }}
	if err := e.notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := l.Read(b); err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q, %v", b[:n], err)
	}
	e.getenv = func(string) string { return "" }
	if err := e.notify("READY=1"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	e.getenv = func(string) string { return name + ".none" }
	if err := e.notify("READY=1"); err == nil {
		t.Error("a manager that does not listen is not noticed")
	}
}
