package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// called is what a call of the program did.
type called struct {
	status         int
	stdout, stderr string
}

// call runs the program; FASTLB_SOCKET names a socket that nobody listens on.
func call(t *testing.T, argv ...string) called {
	t.Helper()
	var stdout, stderr bytes.Buffer
	socket := filepath.Join(t.TempDir(), "none.sock")
	e := &env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(name string) string {
		if name == "FASTLB_SOCKET" {
			return socket
		}
		return ""
	}}
	return called{run(e, argv), stdout.String(), stderr.String()}
}

// TestUsage checks that wrong usage ends with 2, says what is wrong, and prints nothing else.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want string
	}{
		{[]string{"fastlb"}, "fastlb: no command"},
		{[]string{"fastlb", "frobnicate"}, `fastlb: no such command "frobnicate"`},
		{[]string{"fastlb", "version", "--bogus"}, "fastlb: unknown flag: --bogus"},
		{[]string{"fastlb", "version", "x"}, `unexpected argument "x"`},
		{[]string{"fastlb", "version", "--output", "xml"}, "it is text or json"},
		{[]string{"fastlb", "--bogus"}, "unknown flag: --bogus"},
	} {
		got := call(t, c.argv...)
		if got.status != usage || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
			t.Errorf("%v: %+v, want status 2 and %q", c.argv, got, c.want)
		}
	}
}

// TestHelp checks that every subcommand has its help.
func TestHelp(t *testing.T) {
	all := call(t, "fastlb", "-h")
	if all.status != done {
		t.Errorf("-h: %+v", all)
	}
	root := newRoot(&env{getenv: func(string) string { return "" }})
	for _, c := range root.Commands() {
		if !strings.Contains(all.stdout, c.Name()) || c.Short == "" {
			t.Errorf("help does not show %s", c.Name())
		}
		if got := call(t, "fastlb", c.Name(), "-h"); !c.DisableFlagParsing && (got.status != done || !strings.Contains(got.stdout, "Usage:")) {
			t.Errorf("%s -h: %+v", c.Name(), got)
		}
	}
}

// TestVersion checks both forms.
func TestVersion(t *testing.T) {
	var b build
	if got := call(t, "fastlb", "version", "--output", "json"); got.status != done || json.Unmarshal([]byte(got.stdout), &b) != nil || b.Go == "" || b.Kernel == "" || b.Version == "" || b.Commit == "" {
		t.Errorf("%+v", got)
	}
	if got := call(t, "fastlb", "version"); !strings.HasPrefix(got.stdout, "fastlb "+b.Version+"\ncommit ") {
		t.Errorf("%+v", got)
	}
}

// TestLVSNames checks that the program is ipvsadm under that name, as a subcommand or a link, -h included.
func TestLVSNames(t *testing.T) {
	const version = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n"
	for _, argv := range [][]string{
		{"ipvsadm", "-h"}, {"/usr/sbin/ipvsadm", "-h"}, {"fastlb", "ipvsadm", "-h"}, {"fastlb", "ipvsadm", "--help"}, {"fastlb", "ipvsadm", "--version"},
	} {
		if got := call(t, argv...); got.status != done || !strings.HasPrefix(got.stdout, version) || got.stderr != "" {
			t.Errorf("%v: %+v", argv, got)
		}
	}
	for _, argv := range [][]string{{"fastlb", "ipvsadm", "--stats"}, {"fastlb", "ipvsadm", "--socket", "x"}, {"ipvsadm", "-t", "10.0.0.1:80", "-A"}} {
		if got := call(t, argv...); got.status != 255 || got.stderr != "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n" {
			t.Errorf("%v: %+v", argv, got)
		}
	}
	for _, argv := range [][]string{{"ipvsadm"}, {"fastlb", "ipvsadm"}, {"fastlb", "ipvsadm-save"}, {"/sbin/ipvsadm-restore"}} {
		got := call(t, argv...)
		if got.status != 2 || !strings.HasPrefix(got.stderr, "Can't initialize ipvs: No such file or directory\n") || !strings.Contains(got.stderr, "none.sock") {
			t.Errorf("%v: %+v", argv, got)
		}
	}
	if got := call(t, "fastlb", "--socket", "/other.sock", "ipvsadm", "-Ln"); got.status != 2 || !strings.Contains(got.stderr, "/other.sock") {
		t.Errorf("%+v", got)
	}
	if got := call(t, "fastlb", "ipvsadm-save", "-h"); got.status != 1 || !strings.HasPrefix(got.stderr, "ipvsadm-save: ") {
		t.Errorf("%+v", got)
	}
}

// TestCheck checks the three outcomes of check in both forms.
func TestCheck(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "fastlb.yaml")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := file("interfaces: [{name: eth0}]\nservices: [{address: 192.0.2.10:80, servers: [{address: 10.0.0.1:8080}]}]\n")
	bad := file("services:\n  - {addr: 192.0.2.10:80}\nlog: {level: loud}\n")

	got := call(t, "fastlb", "check", "--config", good)
	if got.status != done || !strings.Contains(got.stdout, "tcp 192.0.2.10:80") || !strings.Contains(got.stdout, "warning: "+good+":2:57: ") {
		t.Errorf("%+v", got)
	}
	var v struct {
		Valid    bool
		Warnings []map[string]any
		Faults   []map[string]any
	}
	got = call(t, "fastlb", "--output", "json", "check", "--config", good)
	if err := json.Unmarshal([]byte(got.stdout), &v); err != nil || got.status != done || !v.Valid || len(v.Warnings) != 1 {
		t.Errorf("%v: %+v", err, got)
	}
	got = call(t, "fastlb", "check", "--config", bad)
	if got.status != failed || got.stdout != "" || strings.Count(got.stderr, "\n") != 3 || !strings.Contains(got.stderr, bad+":2:6: services[0].addr: unknown key") {
		t.Errorf("%+v", got)
	}
	got = call(t, "fastlb", "check", "--config", bad, "--output", "json")
	if err := json.Unmarshal([]byte(got.stdout), &v); err != nil || got.status != failed || v.Valid || len(v.Faults) != 3 || v.Faults[0]["line"] != 2.0 {
		t.Errorf("%v: %+v", err, got)
	}
	if got = call(t, "fastlb", "check", "--config", "/nonexistent/fastlb.yaml"); got.status != failed || !strings.Contains(got.stderr, "/nonexistent/fastlb.yaml: no such file") {
		t.Errorf("%+v", got)
	}
}
