package ipvsadm_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/ipvsadm"
)

// TestRecorded runs what ipvsadm 1.31 over Linux 7.3 was seen to do (testdata/*.txtar, made by testdata/convert) and
// compares every byte of output, messages and statuses. Known differences: size= is the kernel's own table size, the
// order of services with --nosort is its hash table's, and where it died of a signal we must only fail.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	cases := 0
	for _, file := range files {
		for _, c := range readCases(t, file) {
			cases++
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+c.name, func(t *testing.T) { c.run(t, newEngine()) })
		}
	}
	if cases < 343 {
		t.Errorf("%d cases, want at least 343", cases)
	}
}

// transcript is one case.
type transcript struct {
	name  string
	steps []*recordedStep
}

type recordedStep struct {
	words          []string
	stdin          string
	stdout, stderr string
	status         int
}

// readCases splits an archive into its transcripts.
func readCases(t *testing.T, file string) (cases []*transcript) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c *transcript
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "-- "); ok {
			c = &transcript{name: strings.TrimSuffix(name, " --")}
			cases = append(cases, c)
			continue
		}
		mark, rest := line[:1], strings.TrimPrefix(line[1:], " ")
		if mark == "$" {
			c.steps = append(c.steps, &recordedStep{words: shellWords(rest)})
			continue
		}
		s := c.steps[len(c.steps)-1]
		switch mark {
		case "<":
			s.stdin += rest + "\n"
		case ">":
			s.stdout += rest + "\n"
		case "!":
			s.stderr += rest + "\n"
		case "=":
			fmt.Sscan(rest, &s.status)
		}
	}
	return cases
}

// shellWords splits at blanks outside single quotes.
func shellWords(s string) (words []string) {
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		var w string
		if rest, ok := strings.CutPrefix(s, "'"); ok {
			w, s, _ = strings.Cut(rest, "'")
		} else {
			w, s, _ = strings.Cut(s, " ")
		}
		words = append(words, w)
	}
	return words
}

var size = regexp.MustCompile(`\(size=\d+\)`)

// run replays a transcript on an empty table.
func (c *transcript) run(t *testing.T, e ipvsadm.Engine) {
	names := newHosts()
	for _, s := range c.steps {
		if s.words[0] == "hosts" {
			names.add(s.words[1], s.words[2:]...)
			continue
		}
		var stdout, stderr bytes.Buffer
		status := ipvsadm.Run(s.words[0], s.words[1:], strings.NewReader(s.stdin), &stdout, &stderr, e, names.names())
		where := strings.Join(s.words, " ")
		if s.status < 0 {
			if status == 0 || stderr.Len() == 0 {
				t.Errorf("%s: status %d and %q, want a failure and a message", where, status, stderr.String())
			}
			continue
		}
		if status != s.status {
			t.Errorf("%s: status %d, want %d", where, status, s.status)
		}
		got := size.ReplaceAllString(stdout.String(), "(size=N)")
		want := size.ReplaceAllString(s.stdout, "(size=N)")
		if slices.Contains(s.words, "--nosort") {
			got, want = sortedBlocks(got), sortedBlocks(want)
		}
		if got != want {
			t.Errorf("%s: output\n%s\nwant\n%s", where, got, want)
		}
		if got := withoutHints(stderr.String()); got != s.stderr {
			t.Errorf("%s: stderr\n%q\nwant\n%q", where, got, s.stderr)
		}
	}
}

// withoutHints drops the lines that only fastlb writes.
func withoutHints(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "fastlb: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// sortedBlocks sorts the services of a listing, their servers with them.
func sortedBlocks(listing string) string {
	var blocks []string
	for line := range strings.Lines(listing) {
		if strings.HasPrefix(line, "  ->") && len(blocks) > 0 {
			blocks[len(blocks)-1] += line
		} else {
			blocks = append(blocks, line)
		}
	}
	slices.Sort(blocks)
	return strings.Join(blocks, "")
}

// hosts is a machine's /etc/hosts and /etc/services.
type hosts struct {
	byName map[string]netip.Addr
	byAddr map[netip.Addr]string
}

func newHosts() *hosts {
	h := &hosts{map[string]netip.Addr{}, map[netip.Addr]string{}}
	h.add("127.0.0.1", "localhost")
	h.add("::1", "localhost")
	return h
}

func (h *hosts) add(addr string, names ...string) {
	a := netip.MustParseAddr(addr)
	h.byAddr[a] = names[0]
	for _, name := range names {
		if a.Is4() {
			h.byName[name] = a
		}
	}
}

func (h *hosts) names() *ipvsadm.Names {
	return &ipvsadm.Names{
		Host:     func(name string) (netip.Addr, bool) { a, ok := h.byName[name]; return a, ok },
		Addr:     func(a netip.Addr) (string, bool) { name, ok := h.byAddr[a]; return name, ok },
		Services: func() string { return servicesDatabase },
	}
}

// servicesDatabase is what the recordings need of Debian's.
const servicesDatabase = `
# comment
discard		9/tcp		sink null
ssh		22/tcp				# SSH Remote Login Protocol
domain		53/tcp				# Domain Name Server
domain		53/udp
http		80/tcp		www		# WorldWideWeb HTTP
ntp		123/udp				# Network Time Protocol
https		443/tcp				# http protocol over TLS/SSL
https		443/udp				# HTTP/3
sip		5060/tcp			# Session Initiation Protocol
sip		5060/udp
http-alt	8080/tcp	webcache	# WWW caching service
`
