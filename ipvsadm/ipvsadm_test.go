package ipvsadm_test

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/ipvsadm"
	"github.com/fastlb/fastlb/service"
)

// shell is a table and what was last said.
type shell struct {
	*engine
	stdout, stderr string
}

// run carries out one command line.
func (s *shell) run(line, stdin string) (status int) {
	var stdout, stderr bytes.Buffer
	words := shellWords(line)
	status = ipvsadm.Run(words[0], words[1:], strings.NewReader(stdin), &stdout, &stderr, s.engine, newHosts().names())
	s.stdout, s.stderr = stdout.String(), stderr.String()
	return status
}

// TestHints checks fastlb's second line: what was not found, and the nearest that exists.
func TestHints(t *testing.T) {
	s := &shell{engine: newEngine()}
	s.run("ipvsadm-restore", `
-A -t 192.0.2.10:80 -s rr
-a -t 192.0.2.10:80 -r 10.0.0.11:80 -m
-a -t 192.0.2.10:80 -r 10.0.0.12:8080 -m
-A -u 192.0.2.10:53 -s rr
-A -f 7 -s rr
`)
	for _, c := range []struct {
		line, want string
		status     int
	}{
		{"ipvsadm -a -t 192.0.2.10:8O -r 10.0.0.1", "illegal virtual server address[:port] specified\n", 2},
		{"ipvsadm -a -t 192.0.2.10:81 -r 10.0.0.1", "Service not defined\nfastlb: there is no service TCP 192.0.2.10:81; the nearest is TCP 192.0.2.10:80\n", 255},
		{"ipvsadm -D -u 192.0.2.10:80", "No such service\nfastlb: there is no service UDP 192.0.2.10:80; the nearest is TCP 192.0.2.10:80\n", 255},
		{"ipvsadm -E -u 192.0.2.1:53", "No such service\nfastlb: there is no service UDP 192.0.2.1:53; the nearest is UDP 192.0.2.10:53\n", 255},
		{"ipvsadm -Ln -f 8", "No such service\nfastlb: there is no service FWM 8; the nearest is FWM 7\n", 1},
		{"ipvsadm -Z -t [fd00::1]:80", "No such service\nfastlb: there is no service TCP [fd00::1]:80; the nearest is TCP 192.0.2.10:80\n", 255},
		{"ipvsadm -d -t 192.0.2.10:80 -r 10.0.0.12", "No such destination\nfastlb: service TCP 192.0.2.10:80 has no server 10.0.0.12:80; the nearest is 10.0.0.11:80\n", 255},
		{"ipvsadm -d -u 192.0.2.10:53 -r 10.0.0.12", "No such destination\nfastlb: service UDP 192.0.2.10:53 has no server 10.0.0.12:53; it has none at all\n", 255},
		{"ipvsadm -A -t 192.0.2.10:81 -s wrrr", "Scheduler or persistence engine not found\nfastlb: there is no scheduler \"wrrr\"; the nearest is wrr, all are rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos\n", 255},
		{"ipvsadm -A -t 192.0.2.10:81 -p --pe sipp", "Scheduler or persistence engine not found\nfastlb: there is no persistence engine \"sipp\"; the only one is sip\n", 255},
		{"ipvsadm -A -t 192.0.2.10:80", "Service already exists\n", 255},
		{"ipvsadm --stop-daemon master", "No daemon is running\n", 255},
	} {
		if status := s.run(c.line, ""); status != c.status || s.stderr != c.want {
			t.Errorf("%s: status %d, %q, want %d, %q", c.line, status, s.stderr, c.status, c.want)
		}
	}
	s.run("ipvsadm -C", "")
	if s.run("ipvsadm -D -f 1", ""); s.stderr != "No such service\nfastlb: there is no service FWM 1; the table is empty\n" {
		t.Errorf("%q", s.stderr)
	}
}

// TestRefusals checks what an engine's other errors become.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		err    error
		want   string
		status int
	}{
		{&control.NotYet{What: "services of SCTP"}, "fastlb: services of SCTP are not supported\n", 255},
		{service.ErrFull, "Memory allocation problem\n", 255},
		{syscall.EPERM, "Permission denied (you must be root)\n", 255},
		{syscall.EIO, "Input/output error\n", 255},
		{errors.New("something else"), "fastlb: something else\n", 255},
		{&net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: "/x.sock", Net: "unix"}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
			"Can't initialize ipvs: Connection refused\nAre you sure that IP Virtual Server is built in the kernel or as module?\n" +
				"fastlb: no director answers at /x.sock: start one with fastlb run, or name its socket with FASTLB_SOCKET\n", 2},
	} {
		s := &shell{engine: newEngine()}
		s.refusal = c.err
		if status := s.run("ipvsadm -A -t 192.0.2.10:80", ""); status != c.status || s.stderr != c.want {
			t.Errorf("%v: status %d, %q, want %d, %q", c.err, status, s.stderr, c.status, c.want)
		}
	}
}

// TestConnections checks -L -c.
func TestConnections(t *testing.T) {
	s := &shell{engine: newEngine()}
	ap := netip.MustParseAddrPort
	s.conns = []control.ConnEntry{
		{Protocol: 6, State: "ESTABLISHED", Expires: 898, Client: ap("192.168.0.9:50000"), Virtual: ap("10.0.0.1:80"), Server: ap("172.16.0.2:80")},
		{Protocol: 0, State: "ASSURED", Expires: 359, Client: ap("192.168.0.0:0"), Virtual: ap("0.0.0.1:0"), Server: ap("172.16.0.2:0")},
		{Protocol: 17, State: "UDP", Expires: 60 * 123, Client: ap("[fd00::9]:5060"), Virtual: ap("[fd00::1]:5060"), Server: ap("[fd00::2]:5060"), Engine: "sip", Data: "call id"},
		{Protocol: 132, State: "COOKIE_WAIT", Expires: 3, Client: ap("1.2.3.4:5"), Virtual: ap("127.0.0.1:80"), Server: ap("1.2.3.4:6")},
	}
	for line, want := range map[string]string{
		"ipvsadm -Lnc": `IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:58  ESTABLISHED 192.168.0.9:50000  10.0.0.1:80        172.16.0.2:80
IP  05:59  ASSURED     192.168.0.0:0      0.0.0.1:0          172.16.0.2:0
UDP 123:00 UDP         [fd00::9]:5060     [fd00::1]:5060     [fd00::2]:5060
SCTP 00:03  COOKIE_WAIT 1.2.3.4:5          127.0.0.1:80       1.2.3.4:6
`,
		"ipvsadm -L -c --persistent-conn": `IPVS connection entries
pro expire state       source             virtual            destination        pe name          pe_data
TCP 14:58  ESTABLISHED 192.168.0.9:50000  10.0.0.1:http      172.16.0.2:http
IP  05:59  ASSURED     192.168.0.0:0      0.0.0.1:0          172.16.0.2:0
UDP 123:00 UDP         [fd00::9]:sip      [fd00::1]:sip      [fd00::2]:sip    sip                call
SCTP 00:03  COOKIE_WAIT 1.2.3.4:5          localhost:80       1.2.3.4:6
`,
	} {
		if status := s.run(line, ""); status != 0 || s.stdout != want {
			t.Errorf("%s: status %d\n%s\nwant\n%s", line, status, s.stdout, want)
		}
	}
}

// TestRestoreSaved checks that what -S prints makes the same table again, for every table of the recordings.
func TestRestoreSaved(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		for _, c := range readCases(t, file) {
			for _, step := range c.steps {
				if strings.Join(step.words, " ") != "ipvsadm -Sn" || strings.Contains(step.stdout, " -f -") || strings.HasSuffix(step.stdout, "-b \n") {
					continue // ipvsadm cannot read these two itself
				}
				s := &shell{engine: newEngine()}
				if status := s.run("ipvsadm-restore", step.stdout); status != 0 {
					t.Errorf("%s: status %d: %s", c.name, status, s.stderr)
				}
				if s.run("ipvsadm-save -n", ""); s.stdout != step.stdout {
					t.Errorf("%s:\n%s\nwant\n%s", c.name, s.stdout, step.stdout)
				}
			}
		}
	}
}

// FuzzRun checks that no command line panics or succeeds with a message, and that what is refused says why.
func FuzzRun(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "$ ipvsadm "); ok {
				f.Add(strings.TrimSpace(rest))
			}
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		s := &shell{engine: newEngine()}
		s.run("ipvsadm -A -t 10.9.0.1:80", "")
		s.run("ipvsadm -a -t 10.9.0.1:80 -r 10.2.0.11:80", "")
		status := s.run("ipvsadm "+line, "-A -t 10.9.0.2:80\n"+line+"\n")
		if status != 0 && s.stderr == "" {
			t.Errorf("status %d and not a word", status)
		}
		if status == 0 && s.stderr != "" && !strings.Contains(line, "R") && !strings.Contains(line, "restore") {
			t.Errorf("status 0 and %q", s.stderr)
		}
		if s.run("ipvsadm -Sn", ""); s.stderr != "" {
			t.Errorf("-S says %q", s.stderr)
		}
	})
}
