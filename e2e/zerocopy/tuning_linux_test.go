package zerocopy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fastlb/fastlb/internal/vm"
	"github.com/fastlb/fastlb/lab"
)

// The machine of the test of tuning: two NUMA nodes with two CPUs each, and two NICs on the second.
const (
	nodes = "-smp 4,sockets=2,cores=2,threads=1 -object memory-backend-ram,id=m0,size=512M -object memory-backend-ram,id=m1,size=512M " +
		"-numa node,nodeid=0,cpus=0-1,memdev=m0 -numa node,nodeid=1,cpus=2-3,memdev=m1 " +
		"-device pxb-pcie,id=far,bus_nr=32,bus=pcie.0,numa_node=1"
	tunedQueues = 6 // as many pairs of queues as the cards have
)

// bootTuned builds a site without servers, since no packets are sent, and boots the machine.
func bootTuned(t *testing.T) *bed {
	t.Helper()
	needsMachine(t)
	p, err := lab.NewPlan(lab.Options{Prefix: fmt.Sprintf("fastlb-tu-%d", os.Getpid()), Queues: tunedQueues, Servers: 1, Machine: true})
	if err != nil {
		t.Fatal(err)
	}
	s := lab.NewSite(p, filepath.Join(bin, "fastlb"), "/run/"+p.Prefix)
	if err := s.Build(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	args := strings.Fields(nodes)
	for n, i := range p.Router.Interfaces {
		args = append(args,
			"-device", fmt.Sprintf("pcie-root-port,id=port%d,bus=far,chassis=%[1]d", n+1),
			"-netdev", fmt.Sprintf("tap,id=n%d,ifname=%s,script=no,downscript=no,vhost=off,queues=%d", n, p.Tap(i), tunedQueues),
			"-device", fmt.Sprintf("virtio-net-pci,bus=port%d,mq=on,rss=on,vectors=%d,disable-legacy=on,iommu_platform=on,netdev=n%d,mac=%s", n+1, 2*tunedQueues+2, n, i.MAC))
	}
	b := &bed{Site: s, t: t}
	b.start(4, args)
	b.ask(patience, vm.Request{Do: "node", Data: marshal(t, p.Router)})
	return b
}

// read reads a file of the guest, without the blank at its end.
func (b *bed) read(name string) string {
	b.t.Helper()
	return strings.TrimSpace(string(b.ask(patience, vm.Request{Do: "read", Name: name}).Data))
}

// affinities are those of the guest's interrupts that belong to queues, by number.
func (b *bed) affinities() map[int]string {
	b.t.Helper()
	all := map[int]string{}
	for line := range strings.Lines(b.read("/proc/interrupts")) {
		words := strings.Fields(line)
		if n, err := strconv.Atoi(strings.TrimSuffix(words[0], ":")); err == nil && strings.Contains(words[len(words)-1], "put.") { // input.0, output.0
			all[n] = b.read(fmt.Sprintf("/proc/irq/%d/smp_affinity_list", n))
		}
	}
	if len(all) != 4*tunedQueues {
		b.t.Fatalf("interrupts of queues: %v; want %d for each NIC", all, 2*tunedQueues)
	}
	return all
}

// rss is an interface's state as ethtool shows it.
type rss struct {
	Queues int
	Table  []int
}

func (b *bed) rss(name string) (r rss) {
	b.t.Helper()
	if err := json.Unmarshal(b.ask(patience, vm.Request{Do: "rss", Name: name}).Data, &r); err != nil {
		b.t.Fatal(err)
	}
	return r
}

// spread is an RSS table of the same size as another, with these queues.
func spread(size int, queues ...int) []int {
	t := make([]int, size)
	for i := range t {
		t[i] = queues[i%len(queues)]
	}
	return t
}

// begin starts a director on both interfaces; what it does to them is up to the test.
func (b *bed) begin(log, interfaces, workers string) (pid string) {
	b.t.Helper()
	text := fmt.Sprintf("interfaces: %s\nworkers: {frames: 64, hugepages: off%s}\nflows: {capacity: 100000}\nmetrics: {listen: \"\"}\n", interfaces, workers)
	b.ask(patience, vm.Request{Do: "write", Name: config, Data: []byte(text)})
	b.ask(patience, vm.Request{Do: "start", Name: log, Args: []string{"/usr/sbin/fastlb", "run", "--config", config}})
	b.eventually(func() error {
		out, err := b.guest.Run(patience, "/usr/sbin/fastlb", "status", "--output", "json")
		if err != nil {
			return fmt.Errorf("%w; the director printed:\n%s", err, b.read(log))
		}
		var s struct{ PID int }
		err = json.Unmarshal(out, &s)
		pid = strconv.Itoa(s.PID)
		return err
	})
	return pid
}

// end stops it and fails the test if that is not a clean end.
func (b *bed) end(log string) {
	b.t.Helper()
	if a := b.ask(patience, vm.Request{Do: "stop", Name: log}); a.Status != 0 {
		b.t.Errorf("SIGTERM ended the director with status %d; it printed:\n%s", a.Status, b.read(log))
	}
}

// place is what the test reads of a queue's place.
type place struct {
	Interface   string
	Queue, Node int
	Worker, CPU int
	CPUNode     int `json:"cpu_node"`
	IRQs        []struct {
		IRQ, Node  int
		Name, CPUs string
	}
}

// places checks that every queue's interrupts are handled by its worker's CPU, that all is on the NICs' node, and that the
// status says what the kernel does. It returns the queues by interface, and the interrupts.
func (b *bed) places() (queues map[string][]int, moved []int) {
	b.t.Helper()
	var s struct{ Placement []place }
	if err := json.Unmarshal(b.run("/usr/sbin/fastlb", "status", "--output", "json"), &s); err != nil {
		b.t.Fatal(err)
	}
	text := string(b.run("/usr/sbin/fastlb", "status"))
	queues = map[string][]int{}
	for _, p := range s.Placement {
		queues[p.Interface] = append(queues[p.Interface], p.Queue)
		if p.Node != 1 || p.CPUNode != 1 || p.CPU < 2 || len(p.IRQs) != 2 {
			b.t.Errorf("%+v: not on node 1, or without interrupts", p)
			continue
		}
		for _, irq := range p.IRQs {
			moved = append(moved, irq.IRQ)
			if got := b.read(fmt.Sprintf("/proc/irq/%d/smp_affinity_list", irq.IRQ)); got != strconv.Itoa(p.CPU) || irq.CPUs != got || irq.Node != 1 {
				b.t.Errorf("%s queue %d: %s is handled by CPU %s, its status is %+v, the worker is on CPU %d", p.Interface, p.Queue, irq.Name, got, irq, p.CPU)
			}
		}
		row := fmt.Sprintf("%s:%d 1 %d,%d %d 1 %d %[5]d 1", p.Interface, p.Queue, p.IRQs[0].IRQ, p.IRQs[1].IRQ, p.CPU, p.Worker)
		if !slices.ContainsFunc(strings.Split(text, "\n"), func(l string) bool { return strings.Join(strings.Fields(l), " ") == row }) {
			b.t.Errorf("no row %q in\n%s", row, text)
		}
	}
	return queues, moved
}

// TestTuning runs directors on a machine with two nodes: interrupts, RSS and memory are where the workers are, which are on
// the NICs' node; and everything is as it was when the last has ended, though one was killed.
func TestTuning(t *testing.T) {
	b := bootTuned(t)
	const settings = directory + "/flows.settings"
	found, found0, found1 := b.affinities(), b.rss("eth0"), b.rss("eth1")
	if found0.Queues != 4 || len(found0.Table) == 0 || !slices.Equal(found0.Table, found1.Table) {
		t.Fatalf("found %+v, %+v; want four queues, one for each CPU", found0, found1)
	}
	size := len(found0.Table)

	pid := b.begin(directory+"/first", "[{name: eth0, queues: [1, 3]}, {name: eth1}]", "")
	queues, moved := b.places()
	if got := fmt.Sprint(queues); got != "map[eth0:[1 3] eth1:[0 1 2 3]]" {
		t.Errorf("queues with a place: %s", got)
	}
	if now := b.rss("eth0"); !slices.Equal(now.Table, spread(size, 1, 3)) {
		t.Errorf("RSS of eth0: %+v", now)
	}
	if now := b.rss("eth1"); !slices.Equal(now.Table, found1.Table) {
		t.Errorf("RSS of eth1: %+v; all its queues are taken", now)
	}
	for irq, was := range found {
		if now := b.read(fmt.Sprintf("/proc/irq/%d/smp_affinity_list", irq)); !slices.Contains(moved, irq) && now != was {
			t.Errorf("interrupt %d of a queue without a worker was moved from %s to %s", irq, was, now)
		}
	}
	b.memory(pid)

	// Killed, it leaves its settings behind; the next director takes them over, and puts back what it does not want.
	b.ask(patience, vm.Request{Do: "kill", Name: directory + "/first"})
	if now := b.rss("eth0"); !slices.Equal(now.Table, spread(size, 1, 3)) || b.read(settings) == "" {
		t.Errorf("after the crash RSS of eth0 is %+v", now)
	}
	b.begin(directory+"/second", "[{name: eth0, queues: [1, 3]}, {name: eth1, queues: [0, 1]}]", ", numa: 1")
	if queues, _ := b.places(); fmt.Sprint(queues) != "map[eth0:[1 3] eth1:[0 1]]" {
		t.Errorf("queues with a place: %v", queues)
	}
	if a, c := b.rss("eth0"), b.rss("eth1"); !slices.Equal(a.Table, spread(size, 1, 3)) || !slices.Equal(c.Table, spread(size, 0, 1)) {
		t.Errorf("RSS: %+v, %+v", a, c)
	}
	b.end(directory + "/second")
	b.asFound("the second director", found, found0, found1)
	if left, err := b.guest.Ask(patience, vm.Request{Do: "read", Name: settings}); err == nil {
		t.Errorf("%s remains: %s", settings, left.Data)
	}

	// With room for it the driver makes queues of its own when it gets the program: they receive too, and RSS is kept off.
	b.ask(patience, vm.Request{Do: "queues", Name: "eth0", Args: []string{"2"}})
	b.ask(patience, vm.Request{Do: "queues", Name: "eth1", Args: []string{"2"}})
	found, found0, found1 = b.affinities(), b.rss("eth0"), b.rss("eth1")
	b.begin(directory+"/third", "[{name: eth0}, {name: eth1, queues: [0, 1]}]", "")
	if queues, _ := b.places(); fmt.Sprint(queues) != "map[eth0:[0 1] eth1:[0 1]]" {
		t.Errorf("queues with a place: %v", queues)
	}
	if now := b.rss("eth1"); now.Queues != tunedQueues || !slices.Equal(now.Table, spread(size, 0, 1)) {
		t.Errorf("RSS of eth1: %+v", now)
	}
	// The next director takes those for the interface's own; they are given back before they go.
	b.ask(patience, vm.Request{Do: "kill", Name: directory + "/third"})
	b.begin(directory+"/again", "[{name: eth0}, {name: eth1, queues: [0, 1]}]", "")
	if queues, _ := b.places(); fmt.Sprint(queues) != "map[eth0:[0 1 2 3 4 5] eth1:[0 1]]" {
		t.Errorf("after the crash, queues with a place: %v", queues)
	}
	b.end(directory + "/again")
	b.asFound("the third director", found, found0, found1)

	// Hands off.
	b.begin(directory+"/fourth", "[{name: eth0}, {name: eth1}]", ", tune: off")
	if now := b.affinities(); fmt.Sprint(now) != fmt.Sprint(found) {
		t.Errorf("interrupts with tune: off: %v; found %v", now, found)
	}
	b.end(directory + "/fourth")

	for wish, want := range map[string]string{
		"numa: 7":          "there is no node 7: this machine has 0-1",
		"cpus: 3-5":        "CPUs 4-5 are not online: 0-3 are",
		"cpus: 1, numa: 1": "CPU 1 is not on node 1, which workers.numa names and which has 2-3",
	} {
		b.ask(patience, vm.Request{Do: "write", Name: config, Data: []byte("interfaces: [{name: eth0}]\nworkers: {" + wish + "}\n")})
		if _, err := b.guest.Run(patience, "/usr/sbin/fastlb", "run", "--config", config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", wish, err, want)
		}
	}
}

// asFound checks that a machine's settings are what they were.
func (b *bed) asFound(after string, irqs map[int]string, eth0, eth1 rss) {
	b.t.Helper()
	if now := b.affinities(); fmt.Sprint(now) != fmt.Sprint(irqs) {
		b.t.Errorf("after %s: affinities %v; found %v", after, now, irqs)
	}
	if a, c := b.rss("eth0"), b.rss("eth1"); fmt.Sprint(a, c) != fmt.Sprint(eth0, eth1) {
		b.t.Errorf("after %s: RSS %+v, %+v; found %+v, %+v", after, a, c, eth0, eth1)
	}
}

// memory checks that the connection table and the workers' frames have all their pages on node 1.
func (b *bed) memory(pid string) {
	b.t.Helper()
	table, frames := false, false // areas next to each other are shown as one
	for line := range strings.Lines(b.read("/proc/" + pid + "/numa_maps")) {
		mine := strings.Contains(line, "file="+directory+"/flows")
		bound := strings.Contains(line, "prefer:1")
		if mine {
			table = true
		}
		if bound {
			frames = true
		}
		if (mine || bound) && (strings.Contains(line, " N0=") || !strings.Contains(line, " N1=")) {
			b.t.Errorf("memory elsewhere: %s", line)
		}
	}
	if !table || !frames {
		b.t.Errorf("mapped: the table %v, frames bound to node 1 %v", table, frames)
	}
}
