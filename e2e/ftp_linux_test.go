package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fastlb/fastlb/lab"
)

const ftpPort, ftpSize = 21, 1 << 20

// FTP through NAT: vsftpd and curl, active and passive, old words and new, both families, a megabyte each way. The data
// connection must reach the server that has the control connection, whichever of the three that is.
func TestFTP(t *testing.T) {
	needRoot(t)
	vsftpd := findVsftpd(t)
	for _, attach := range []string{"copy", "generic"} {
		t.Run(attach, func(t *testing.T) {
			s := site(t, lab.Options{Queues: 2})
			var services []lab.Service
			for _, family := range []int{4, 6} {
				service := s.Plan.Service("nat", family).On(s.Plan, "tcp", ftpPort, family)
				service.Scheduler = "rr"
				services = append(services, service)
			}
			data := make([]byte, ftpSize)
			_, _ = rand.NewChaCha8([32]byte{3}).Read(data)
			for _, n := range s.Plan.Servers {
				startVsftpd(t, s, n, vsftpd, data)
			}
			direct(t, s, lab.DirectorConfig{Attach: attach, Services: services})
			for _, c := range []struct {
				name    string
				service lab.Service
				args    []string
				said    []string // what curl must have sent and been told
			}{
				{"PASV", services[0], []string{"--disable-epsv"}, []string{"> PASV", "< 227 Entering Passive Mode (192,0,2,10,"}},
				{"EPSV", services[0], []string{"--ftp-pasv"}, []string{"> EPSV", "< 229 Entering Extended Passive Mode (|||"}},
				{"PORT", services[0], []string{"--ftp-port", "-", "--disable-eprt"}, []string{"> PORT 192,0,2,100,", "< 200 "}},
				{"EPRT", services[0], []string{"--ftp-port", "-"}, []string{"> EPRT |1|192.0.2.100|", "< 200 "}},
				{"EPSV6", services[1], []string{"--ftp-pasv"}, []string{"> EPSV", "< 229 Entering Extended Passive Mode (|||"}},
				{"EPRT6", services[1], []string{"--ftp-port", "-"}, []string{"> EPRT |2|2001:db8::", "< 200 "}},
			} {
				t.Run(c.name, func(t *testing.T) { checkFTP(t, s, c.service, c.args, c.said, data) })
			}
			checkFTPCounts(t, s)
			// The program now takes whatever these servers send from a port that is not privileged: what is not FTP's goes
			// on as if it had not been taken.
			for _, family := range []int{4, 6} {
				t.Run(fmt.Sprintf("servers-own/v%d", family), func(t *testing.T) { checkServersOwn(t, s, family) })
			}
		})
	}
}

// ftpRounds is how many sessions each way of transfer gets: every server has one.
const ftpRounds = 3

// checkFTP downloads the file twice in one session, and uploads it in another; as often as there are servers.
func checkFTP(t *testing.T, s *lab.Site, service lab.Service, args, said []string, data []byte) {
	url := "ftp://" + service.Address.String()
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, data, 0o644); err != nil {
		t.Fatal(err)
	}
	// --no-ftp-skip-pasv-ip: curl believes the address in the answer, as most clients do.
	args = append([]string{
		"curl", "-q", "--no-progress-meter", "--verbose", "--stderr", "-", "--noproxy", "*", "--globoff", "--no-ftp-skip-pasv-ip",
		"--max-time", strconv.Itoa(int(2 * patience / time.Second)),
	}, args...)
	for round := range ftpRounds {
		first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
		log, err := s.Run(lab.Client, append(args, url+"/data", "-o", first, url+"/data", "-o", second)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		for _, name := range []string{first, second} {
			if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, data) {
				t.Errorf("download %d: %d of %d bytes, or others; %v", round, len(got), len(data), err)
			}
			_ = os.Remove(name)
		}
		for _, want := range said {
			if n := strings.Count(log, want); n < 2 {
				t.Errorf("download %d: %q occurs %d times of 2 in\n%s", round, want, n, log)
			}
		}
		file := fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), round)
		log, err = s.Run(lab.Client, append(args, "-T", source, url+"/upload/"+file)...)
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		have := 0
		for _, n := range s.Plan.Servers {
			got, err := os.ReadFile(filepath.Join(ftpRoot(s, n), "upload", file))
			if err != nil {
				continue
			}
			if have++; !bytes.Equal(got, data) {
				t.Errorf("upload %d: %d of %d bytes, or others, on %s", round, len(got), len(data), n.Name)
			}
		}
		if have != 1 {
			t.Errorf("upload %d arrived on %d servers", round, have)
		}
	}
}

// checkFTPCounts compares what was scheduled: the sessions, evenly; the helper's connections are not counted.
func checkFTPCounts(t *testing.T, s *lab.Site) {
	t.Helper()
	out, err := s.Fastlb("ipvsadm", "-Ln", "--stats", "--exact")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for family, ways := range map[int]int{4: 4, 6: 2} {
		service := s.Plan.Service("nat", family).On(s.Plan, "tcp", ftpPort, family)
		want[service.Address.String()] = strconv.Itoa(ways * 2 * ftpRounds)
		for _, r := range service.Servers {
			want[r.Address.String()] = strconv.Itoa(ways * 2 * ftpRounds / len(service.Servers))
		}
	}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || want[f[1]] == "" {
			continue
		}
		if f[2] != want[f[1]] {
			t.Errorf("%s has %s connections, want %s", f[1], f[2], want[f[1]])
		}
		delete(want, f[1])
	}
	if len(want) > 0 {
		t.Errorf("no %v in\n%s", want, out)
	}
}

// ftpRoot is what a server's FTP shows.
func ftpRoot(s *lab.Site, n lab.Node) string { return filepath.Join(s.Dir, n.Name, "ftp") }

// vsftpdConfig is an anonymous server in one address family. Its own network namespaces and its seccomp filter are off:
// they are about other machines than a test's.
const vsftpdConfig = `background=NO
%s
listen_port=%d
anonymous_enable=YES
no_anon_password=YES
anon_root=%s
local_enable=NO
write_enable=YES
anon_upload_enable=YES
connect_from_port_20=YES
secure_chroot_dir=%s
isolate=NO
isolate_network=NO
seccomp_sandbox=NO
xferlog_enable=YES
xferlog_std_format=NO
log_ftp_protocol=YES
vsftpd_log_file=%s
`

// startVsftpd runs two, one a family, on the inside addresses of a server; they show data and take uploads.
func startVsftpd(t *testing.T, s *lab.Site, n lab.Node, vsftpd string, data []byte) {
	t.Helper()
	root, upload, empty := ftpRoot(s, n), filepath.Join(ftpRoot(s, n), "upload"), filepath.Join(s.Dir, n.Name, "empty")
	for _, dir := range []string{upload, empty} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "data"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	owner, err := user.Lookup("ftp") // Debian's package makes it
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown(upload, uid, -1); err != nil {
		t.Fatal(err)
	}
	inside := n.Interfaces[1]
	for _, a := range []netip.Addr{inside.V4(), inside.V6()} {
		listen, name := "listen=YES\nlisten_address="+a.String(), "vsftpd4"
		if a.Is6() {
			listen, name = "listen=NO\nlisten_ipv6=YES\nlisten_address6="+a.String(), "vsftpd6"
		}
		log := filepath.Join(s.Dir, n.Name, name+".log")
		config := filepath.Join(s.Dir, n.Name, name+".conf")
		if err := os.WriteFile(config, fmt.Appendf(nil, vsftpdConfig, listen, ftpPort, root, empty, log), 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := s.Start(n.Name, name, vsftpd, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				b, _ := os.ReadFile(log)
				t.Logf("%s of %s: %s\n%s", name, n.Name, p.Output(), b)
			}
		})
		if err := p.Await(patience, func() error { return greets(t, s, n, netip.AddrPortFrom(a, ftpPort)) }); err != nil {
			t.Fatal(err)
		}
	}
}

// greets looks whether an FTP server says 220 to its own machine.
func greets(t *testing.T, s *lab.Site, n lab.Node, at netip.AddrPort) error {
	c, err := s.Dial(t.Context(), n.Name, "tcp", at.String())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "220") {
		err = fmt.Errorf("%s greets with %q", at, line)
	}
	return err
}

// findVsftpd finds Debian's FTP server; `make test` installs it.
func findVsftpd(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"vsftpd", "/usr/sbin/vsftpd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("FASTLB_REQUIRE_E2E") == "1" {
		t.Fatal("FASTLB_REQUIRE_E2E=1, but vsftpd is not installed")
	}
	t.Skip("vsftpd is not installed")
	return ""
}
