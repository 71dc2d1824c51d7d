package zerocopy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fastlb/fastlb/internal/vm"
	"github.com/fastlb/fastlb/lab"
)

// bin is the folder of what `make zerocopy` built: fastlb, zerocopy-guest, and in machine the machine's image.
var bin = os.Getenv("FASTLB_BIN")

// queues are those of each NIC; the machine has a CPU for each.
const queues = 2

// How long things may take: the emulator executes some hundred million instructions a second, less beside others.
const (
	bootPatience = 3 * time.Minute
	patience     = time.Minute
)

// Kinds of NIC: virtio-net can do zero copy if it is behind an IOMMU, which gives it a DMA device.
const (
	zeroCopyNIC = "virtio-net-pci,mq=on,vectors=6,disable-legacy=on,iommu_platform=on"
	copyNIC     = "virtio-net-pci,mq=on,vectors=6,disable-legacy=on"
)

// bed is a lab whose director is a machine.
type bed struct {
	*lab.Site
	t     *testing.T
	guest *vm.Client
}

// boot builds the site and boots the machine with a NIC of the given kind for each of the director's interfaces. After the
// test nothing of either is left; the guest's kernel must not have complained.
func boot(t *testing.T, nics ...string) *bed {
	t.Helper()
	needsMachine(t)
	p, err := lab.NewPlan(lab.Options{Prefix: fmt.Sprintf("fastlb-zc-%d", os.Getpid()), Queues: queues, Servers: 2, Machine: true})
	if err != nil {
		t.Fatal(err)
	}
	s := lab.NewSite(p, filepath.Join(bin, "fastlb"), "/run/"+p.Prefix) // short: a socket's path has at most 107 bytes
	if err := s.Build(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s.Exists() {
			t.Errorf("namespaces of %v remain", p.Namespaces())
		}
	})
	if err := s.StartServers(""); err != nil {
		t.Fatal(err)
	}
	b := &bed{Site: s, t: t}
	var args []string
	for n, i := range p.Router.Interfaces {
		args = append(args,
			"-netdev", fmt.Sprintf("tap,id=n%d,ifname=%s,script=no,downscript=no,vhost=off,queues=%d", n, p.Tap(i), queues),
			"-device", fmt.Sprintf("%s,netdev=n%d,mac=%s", nics[n], n, i.MAC))
	}
	b.start(queues, args)
	b.ask(patience, vm.Request{Do: "node", Data: marshal(t, p.Router)})
	return b
}

// needsMachine skips the test where no image is, and fails it where nobody may use one.
func needsMachine(t *testing.T) {
	t.Helper()
	switch {
	case bin == "":
		t.Skip("FASTLB_BIN does not name the folder of a machine's image: `make zerocopy` does")
	case os.Geteuid() != 0:
		t.Fatal("network namespaces and taps need root")
	}
}

// start boots the machine with a number of CPUs and further arguments of the emulator, its NICs, and waits until it can be asked.
func (b *bed) start(cpus int, args []string) {
	t, image := b.t, filepath.Join(bin, "machine")
	files := []vm.File{}
	for name, from := range map[string]string{"init": "zerocopy-guest", "usr/sbin/fastlb": "fastlb"} {
		data, err := os.ReadFile(filepath.Join(bin, from))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, vm.File{Name: name, Mode: 0o100755, Data: data})
	}
	begin := time.Now()
	machine, err := vm.Start(context.Background(), vm.Config{
		Image: image, Files: files, CPUs: cpus, Memory: 1024, Args: args,
		Launch: func(c *exec.Cmd) error { return lab.In(b.Plan.Namespaces()[0], c.Start) },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.guest = vm.NewClient(machine.Port)
	t.Cleanup(func() {
		if _, err := b.guest.Ask(patience, vm.Request{Do: "off"}); err != nil {
			t.Errorf("switch the machine off: %v; its console:\n%s", err, machine.Console())
			machine.Kill()
		}
		if err := machine.Wait(); err != nil {
			t.Error(err)
		}
	})
	if err := b.guest.Ready(bootPatience); err != nil {
		t.Fatalf("%v; its console:\n%s", err, machine.Console())
	}
	t.Logf("Linux %s booted in %.0f s", vm.Version(image), time.Since(begin).Seconds())
	t.Cleanup(b.checkLog)
}

// complaint matches what a kernel says when something in it is wrong.
var complaint = regexp.MustCompile(`WARNING:|BUG:|Oops|Call Trace|general protection|UBSAN|lockup|NETDEV WATCHDOG|page allocation failure`)

// checkLog looks for complaints of the guest's kernel.
func (b *bed) checkLog() {
	a, err := b.guest.Ask(patience, vm.Request{Do: "log"})
	if err != nil {
		b.t.Error(err)
		return
	}
	if complaint.Match(a.Data) {
		b.t.Errorf("the guest's kernel complains:\n%s", a.Data)
	} else if b.t.Failed() {
		b.t.Logf("the guest's kernel said:\n%s", a.Data[max(0, len(a.Data)-4000):])
	}
}

// ask carries out a request in the guest; a failure ends the test.
func (b *bed) ask(patience time.Duration, r vm.Request) vm.Answer {
	b.t.Helper()
	a, err := b.guest.Ask(patience, r)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// run runs a program in the guest and returns what it printed; a failure ends the test.
func (b *bed) run(argv ...string) []byte {
	b.t.Helper()
	out, err := b.guest.Run(patience, argv...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The director's files in the guest.
const (
	directory = "/run/fastlb"
	config    = directory + "/fastlb.yaml"
	logFile   = directory + "/log"
)

// direct starts the director and waits until it answers; it is stopped at the test's end, which must be a clean one.
func (b *bed) direct(c lab.DirectorConfig) {
	b.launch(c)
	b.t.Cleanup(b.stop)
}

// stop ends the director, which must be a clean end.
func (b *bed) stop() {
	t := b.t
	a, err := b.guest.Ask(patience, vm.Request{Do: "stop", Name: logFile})
	if err != nil || a.Status != 0 {
		t.Errorf("SIGTERM ended the director with status %d, %v", a.Status, err)
	}
	if out, err := b.guest.Ask(patience, vm.Request{Do: "read", Name: logFile}); err == nil && t.Failed() {
		t.Logf("the director printed:\n%s", out.Data)
	}
}

// launch starts the director and waits until it answers.
func (b *bed) launch(c lab.DirectorConfig) {
	c.Dir = directory
	for _, i := range b.Plan.Router.Interfaces {
		c.Interfaces = append(c.Interfaces, i.Name)
	}
	b.ask(patience, vm.Request{Do: "write", Name: config, Data: []byte(c.YAML())})
	b.ask(patience, vm.Request{Do: "start", Name: logFile, Args: []string{"/usr/sbin/fastlb", "run", "--config", config}})
	b.eventually(func() error {
		_, err := b.guest.Run(patience, "/usr/sbin/fastlb", "status")
		if err != nil {
			out, _ := b.guest.Ask(patience, vm.Request{Do: "read", Name: logFile})
			err = fmt.Errorf("%w; the director printed:\n%s", err, out.Data)
		}
		return err
	})
}

// eventually asks condition again and again until it returns nil, and fails the test after a minute.
func (b *bed) eventually(condition func() error) {
	b.t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-limit:
			b.t.Fatalf("still after %v: %v", patience, err)
		case <-tick.C:
		}
	}
}

// status is what the test reads of `fastlb status --output json`.
type status struct {
	Interfaces []struct {
		Name, Mode, Why string
		BusyPoll        string `json:"busy_poll"`
		Queues          []int
	}
	Groups  [][]string
	Workers []struct {
		Frames int
		Memory struct {
			Free, Filled, Received, Sending, Held, Missing int
			InDriver                                       int `json:"in_driver"`
			Copied                                         int
		}
		RXPackets int `json:"rx_packets"`
		TXPackets int `json:"tx_packets"`
		Queues    []struct {
			Interface string
			Queue     int
			NAPI      int
		}
		Syscalls struct{ Send, Receive, Poll uint64 }
		Drops    map[string]uint64
	}
}

func (b *bed) status() (s status) {
	b.t.Helper()
	if err := json.Unmarshal(b.run("/usr/sbin/fastlb", "status", "--output", "json"), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// modes are the interfaces' as "eth0 zerocopy, eth1 copy".
func (s *status) modes() string {
	var l []string
	for _, i := range s.Interfaces {
		l = append(l, i.Name+" "+i.Mode)
	}
	return strings.Join(l, ", ")
}
