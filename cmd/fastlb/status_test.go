package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/service"
)

func TestPrintStatus(t *testing.T) {
	start := time.Unix(1000, 0)
	s := &director.Status{
		Version: "1.2.3", PID: 77, Started: start, Now: start.Add(90 * time.Second), Config: "/etc/fastlb/fastlb.yaml",
		Interfaces: []director.InterfaceStatus{{Name: "eth0", Mode: "copy", Driver: "veth", Queues: []int{0, 1}, MTU: 9000, Longest: 3822, MAC: "02:00:00:00:00:01", BusyPoll: "waiting for the first packet"},
			{Name: "eth1", Mode: "generic", Queues: []int{0}}},
		Workers: []director.WorkerStatus{{CPU: -1, Poll: "adaptive", Busy: 0.254, Drops: map[string]uint64{"no_route": 3, "runt": 12}, Passes: map[string]uint64{"no_service": 1},
			RXPackets: 123_456, Syscalls: director.SyscallStatus{Send: 2000, Receive: 3, Poll: 470, Again: 4},
			Queues: []director.QueueStatus{{Interface: "eth0", RXPackets: 123_456, TXPackets: 99_999, RXRingFull: 4}, {Interface: "eth0", Queue: 1}}}},
		Placement: []director.QueuePlace{
			{Interface: "eth0", Node: 0, IRQs: []director.IRQStatus{{IRQ: 41, CPUs: "2"}, {IRQ: 42, CPUs: "2"}}, CPU: 2, Worker: 0},
			{Interface: "eth0", Queue: 1, Node: 0, IRQs: []director.IRQStatus{{IRQ: 43, CPUs: "0-7", Node: -1}, {IRQ: 44, CPUs: "3", Node: 1}, {IRQ: 45, Node: -1}}, CPU: 3, Worker: 1, CPUNode: 1},
			{Interface: "eth1", Node: -1, CPU: -1, CPUNode: -1},
		},
		Flows:    director.FlowStatus{Entries: 2, Capacity: 1 << 20, Refused: 5, Bytes: 160 << 20, Pages: "4 KiB", State: "/run/fastlb/flows"},
		Warnings: []string{"interface eth1: it is gone"},
	}
	list := []control.ServiceEntry{{
		Spec:  service.Spec{ID: service.ID{Family: 4, Protocol: 6, Addr: netip.MustParseAddr("192.0.2.10"), Port: 80}, Scheduler: "rr"},
		Stats: service.Stats{Conns: 7, InPkts: 8, OutPkts: 9}, Rates: service.Stats{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: 1000, OutBytes: 250},
		Servers: []control.ServerEntry{{Spec: service.ServerSpec{ServerID: service.ServerID{Addr: netip.MustParseAddr("10.0.0.11"), Port: 80}, Method: service.DR, Weight: 2}, Active: 23, Inactive: 4,
			Ages: &control.Ages{Recent: 2, Minute: 1, Longer: 20, Waiting: 11}}},
	}}
	var b bytes.Buffer
	printStatus(&b, s, list)
	var got []string
	for line := range strings.Lines(b.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"fastlb 1.2.3, process 77, running for 1m30s, /etc/fastlb/fastlb.yaml",
		"flows 2 of 1048.6k, 5 REFUSED, 160 MiB in pages of 4 KiB, /run/fastlb/flows",
		"WARNING interface eth1: it is gone",
		"",
		"Interface Mode Driver Queue numbers MTU Longest packet MAC",
		"eth0 copy veth 0,1 9000 3822 02:00:00:00:00:01 DOWN",
		"eth1 generic 0 0 0 GONE",
		"busy polling of eth0: waiting for the first packet",
		"",
		"Worker CPU Poll Queue Received Sent Busy Lost at the ring",
		"0 - adaptive eth0:0 123.5k 99999 25 % worker late 4",
		"eth0:1 0 0 -",
		"",
		"Queue NIC's node IRQ IRQ's CPU its node Worker Worker's CPU its node",
		"eth0:0 0 41,42 2 0 0 2 0",
		"eth0:1 0 43,44,45 0-7,3,- -,1,- 1 3 1",
		"eth1:0 - - - - 0 - -",
		"",
		"System calls: send 2000, receive 3, poll 470; 0.020 a packet received; 4 broken off by the kernel",
		"",
		"Dropped: runt 12, no_route 3",
		"",
		"Left to the kernel: no_service 1",
		"",
		"Service Scheduler Weight Active Inactive Conns InPkts OutPkts Conns/s Packets/s Bits/s",
		"tcp 192.0.2.10:80 rr 7 8 9 1 5 10000",
		"10.0.0.11:80 dr 2 23 4 0 0 0 0 0 0",
		"",
		"Active connections All Heard within 10 s Within 60 s Longer ago SYN_RECV, no reply seen",
		"tcp 192.0.2.10:80 → 10.0.0.11:80 23 2 1 20 11",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("printed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Only where replies pass through the director do connections that wait for one mean something.
func TestPrintAges(t *testing.T) {
	for method, hint := range map[service.Method]bool{service.NAT: true, service.DR: false} {
		list := []control.ServiceEntry{{Servers: []control.ServerEntry{
			{Spec: service.ServerSpec{Method: method}, Active: 20, Ages: &control.Ages{Recent: 20, Waiting: 20}}, {},
		}}}
		var b bytes.Buffer
		printAges(&b, list)
		if got := b.String(); strings.Contains(got, "way back") != hint || strings.Count(got, "\n") < 3 {
			t.Errorf("%v: %q", method, got)
		}
		b.Reset()
		list[0].Servers[0].Active, list[0].Servers[0].Ages = 0, &control.Ages{}
		if printAges(&b, list); b.Len() > 0 {
			t.Errorf("nothing to say, yet %q", b.String())
		}
	}
}

// Where drivers cannot share frames the status says so, and says when frames are lost track of.
func TestPrintGroups(t *testing.T) {
	s := director.Status{Groups: [][]string{{"eth0", "eth2"}, {"eth1"}}}
	s.Workers = []director.WorkerStatus{{Frames: 100}, {ID: 1, Frames: 100, Memory: director.MemoryStatus{Missing: 3}}}
	var b bytes.Buffer
	printStatus(&b, &s, nil)
	for _, want := range []string{"Packets are copied between eth0, eth2 and eth1: their drivers do not share frames\n", "WARNING worker 1: 3 of 100 frames are nowhere"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	s = director.Status{Groups: [][]string{{"eth0", "eth1"}}, Workers: []director.WorkerStatus{{Frames: 100}}}
	if printStatus(&b, &s, nil); strings.Contains(b.String(), "copied") || strings.Contains(b.String(), "nowhere") {
		t.Errorf("copies where there are none, or frames are missing:\n%s", b.String())
	}
}

func TestRunNeedsAnInterface(t *testing.T) {
	if got := call(t, "fastlb", "run"); got.status != usage || !strings.Contains(got.stderr, "--interface IF") {
		t.Errorf("%+v", got)
	}
	for _, flags := range [][]string{{"--cpus", "x"}, {"--queues", "x"}, {"--poll", "sometimes"}, {"--batch", "999"}, {"--attach", "magic"}} {
		got := call(t, append([]string{"fastlb", "run", "--interface", "eth9"}, flags...)...)
		if got.status != usage || got.stderr == "" {
			t.Errorf("%v: %+v", flags, got)
		}
	}
	for _, name := range []string{"status", "reload"} {
		if got := call(t, "fastlb", name); got.status != failed || !strings.Contains(got.stderr, "no director is running") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 99_999: "99999", 100_000: "100.0k", 12_345_678: "12.3M", 98_765_432_100: "98.8G"} {
		if got := count(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
