package metrics

import (
	"errors"
	"io"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/service"
)

type source struct{ err error }

func (s source) Status() (director.Status, error) {
	return director.Status{
		Version: "1.2.3", Go: "go1.26",
		Interfaces: []director.InterfaceStatus{{Name: "eth0", Mode: "copy", Up: true}},
		Workers: []director.WorkerStatus{{
			ID: 3, RXPackets: 10, TXPackets: 9, RXBytes: 1000, TXBytes: 900, Drops: map[string]uint64{"no_route": 1}, Passes: map[string]uint64{"pass_no_service": 2}, Busy: 0.25,
			Batch: director.Histogram{Bounds: []uint64{1, 4, 16}, Counts: []uint64{2, 1, 0, 1}, Sum: 30}, Syscalls: director.SyscallStatus{Send: 21, Receive: 22, Poll: 23},
			Memory: director.MemoryStatus{Free: 31, Filled: 32, InDriver: 33, Received: 34, Sending: 35, Held: 36, Missing: 37, Copied: 38},
			Queues: []director.QueueStatus{{Interface: "eth0", Queue: 1, RXPackets: 10, TXPackets: 9, FillRingEmpty: 4, RXRingFull: 5, RXDropped: 6, TXRingFull: 7, Wakeups: 8}},
		}},
		Placement: []director.QueuePlace{
			{Interface: "eth0", Queue: 1, Worker: 3, CPU: 5, CPUNode: 1, IRQs: []director.IRQStatus{{IRQ: 40, CPUs: "5"}, {IRQ: 41, CPUs: "5"}, {IRQ: 42, CPUs: "0-3"}}},
			{Interface: "veth0", CPU: -1, CPUNode: -1},
		},
		Flows:    director.FlowStatus{Entries: 2, Capacity: 1024, Refused: 3},
		Kernel:   director.PassStatus{Packets: 5, Dropped: 1},
		Steering: map[string]uint64{"redirect": 11},
	}, s.err
}

func (s source) Services() ([]control.ServiceEntry, error) {
	return []control.ServiceEntry{
		{
			Spec:    service.Spec{ID: service.ID{Family: 4, Protocol: 6, Addr: netip.MustParseAddr("192.0.2.10"), Port: 80}, Scheduler: "rr"},
			Stats:   service.Stats{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: 4, OutBytes: 5},
			Servers: []control.ServerEntry{{Spec: service.ServerSpec{ServerID: service.ServerID{Addr: netip.MustParseAddr("10.0.0.11"), Port: 80}, Weight: 2}, Active: 6, Inactive: 7, Stats: service.Stats{Conns: 1}}},
		},
		{Spec: service.Spec{ID: service.ID{Family: 6, Mark: 9}}},
	}, nil
}

// TestMetrics holds the names, labels and types of the contract.
func TestMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(New(source{}))
	want := `
# HELP fastlb_build_info The running fastlb; the value is 1.
# TYPE fastlb_build_info gauge
fastlb_build_info{go="go1.26",version="1.2.3"} 1
# HELP fastlb_flow_capacity Connections that the table can hold.
# TYPE fastlb_flow_capacity gauge
fastlb_flow_capacity 1024
# HELP fastlb_flow_entries Connections in the table, templates included.
# TYPE fastlb_flow_entries gauge
fastlb_flow_entries 2
# HELP fastlb_flow_refused_total New connections refused because the table was full.
# TYPE fastlb_flow_refused_total counter
fastlb_flow_refused_total 3
# HELP fastlb_interface_attach_info How the interface is attached; the value is 1.
# TYPE fastlb_interface_attach_info gauge
fastlb_interface_attach_info{interface="eth0",mode="copy"} 1
# HELP fastlb_queue_info Where a NIC's queue is handled: worker, its CPU, that CPU's NUMA node, and the CPUs of its interrupts; the value is 1.
# TYPE fastlb_queue_info gauge
fastlb_queue_info{cpu="",interface="veth0",irq_cpus="",node="",queue="0",worker="0"} 1
fastlb_queue_info{cpu="5",interface="eth0",irq_cpus="5,0-3",node="1",queue="1",worker="3"} 1
# HELP fastlb_ring_fill_empty_total Packets that the kernel dropped because no frame was free.
# TYPE fastlb_ring_fill_empty_total counter
fastlb_ring_fill_empty_total{interface="eth0",queue="1",worker="3"} 4
# HELP fastlb_ring_rx_full_total Packets that the kernel dropped because the worker was late.
# TYPE fastlb_ring_rx_full_total counter
fastlb_ring_rx_full_total{interface="eth0",queue="1",worker="3"} 5
# HELP fastlb_server_active_connections Active connections, as ipvsadm counts them.
# TYPE fastlb_server_active_connections gauge
fastlb_server_active_connections{protocol="tcp",server="10.0.0.11:80",service="192.0.2.10:80"} 6
# HELP fastlb_server_connections_total Connections scheduled to the real server.
# TYPE fastlb_server_connections_total counter
fastlb_server_connections_total{protocol="tcp",server="10.0.0.11:80",service="192.0.2.10:80"} 1
# HELP fastlb_server_inactive_connections Inactive connections, as ipvsadm counts them.
# TYPE fastlb_server_inactive_connections gauge
fastlb_server_inactive_connections{protocol="tcp",server="10.0.0.11:80",service="192.0.2.10:80"} 7
# HELP fastlb_server_up 1 if the real server takes new connections.
# TYPE fastlb_server_up gauge
fastlb_server_up{protocol="tcp",server="10.0.0.11:80",service="192.0.2.10:80"} 1
# HELP fastlb_server_weight Weight of the real server; 0 takes no new connections.
# TYPE fastlb_server_weight gauge
fastlb_server_weight{protocol="tcp",server="10.0.0.11:80",service="192.0.2.10:80"} 2
# HELP fastlb_service_bytes_total Bytes of IP packets, by direction: in is client to server.
# TYPE fastlb_service_bytes_total counter
fastlb_service_bytes_total{direction="in",protocol="",service="mark 9 ipv6"} 0
fastlb_service_bytes_total{direction="in",protocol="tcp",service="192.0.2.10:80"} 4
fastlb_service_bytes_total{direction="out",protocol="",service="mark 9 ipv6"} 0
fastlb_service_bytes_total{direction="out",protocol="tcp",service="192.0.2.10:80"} 5
# HELP fastlb_service_connections_total Connections that were scheduled to a real server.
# TYPE fastlb_service_connections_total counter
fastlb_service_connections_total{protocol="",service="mark 9 ipv6"} 0
fastlb_service_connections_total{protocol="tcp",service="192.0.2.10:80"} 1
# HELP fastlb_service_packets_total Packets, by direction: in is client to server.
# TYPE fastlb_service_packets_total counter
fastlb_service_packets_total{direction="in",protocol="",service="mark 9 ipv6"} 0
fastlb_service_packets_total{direction="in",protocol="tcp",service="192.0.2.10:80"} 2
fastlb_service_packets_total{direction="out",protocol="",service="mark 9 ipv6"} 0
fastlb_service_packets_total{direction="out",protocol="tcp",service="192.0.2.10:80"} 3
# HELP fastlb_worker_batch_size Packets a round, of rounds that had any.
# TYPE fastlb_worker_batch_size histogram
fastlb_worker_batch_size_bucket{worker="3",le="1"} 2
fastlb_worker_batch_size_bucket{worker="3",le="4"} 3
fastlb_worker_batch_size_bucket{worker="3",le="16"} 3
fastlb_worker_batch_size_bucket{worker="3",le="+Inf"} 4
fastlb_worker_batch_size_sum{worker="3"} 30
fastlb_worker_batch_size_count{worker="3"} 4
# HELP fastlb_worker_busy_ratio Share of the last seconds spent on packets.
# TYPE fastlb_worker_busy_ratio gauge
fastlb_worker_busy_ratio{worker="3"} 0.25
# HELP fastlb_worker_copied_total Frames copied between interfaces that cannot share them.
# TYPE fastlb_worker_copied_total counter
fastlb_worker_copied_total{worker="3"} 38
# HELP fastlb_worker_frames UMEM frames by where they are; missing is where none should be.
# TYPE fastlb_worker_frames gauge
fastlb_worker_frames{state="filled",worker="3"} 32
fastlb_worker_frames{state="free",worker="3"} 31
fastlb_worker_frames{state="held",worker="3"} 36
fastlb_worker_frames{state="in_driver",worker="3"} 33
fastlb_worker_frames{state="missing",worker="3"} 37
fastlb_worker_frames{state="received",worker="3"} 34
fastlb_worker_frames{state="sending",worker="3"} 35
# HELP fastlb_worker_packets_total Packets received (in) and sent (out).
# TYPE fastlb_worker_packets_total counter
fastlb_worker_packets_total{direction="in",worker="3"} 10
fastlb_worker_packets_total{direction="out",worker="3"} 9
# HELP fastlb_worker_syscalls_total System calls, by kind: send, receive (wakeups of the kernel) and poll (waiting for packets).
# TYPE fastlb_worker_syscalls_total counter
fastlb_worker_syscalls_total{kind="poll",worker="3"} 23
fastlb_worker_syscalls_total{kind="receive",worker="3"} 22
fastlb_worker_syscalls_total{kind="send",worker="3"} 21
`
	names := []string{}
	for line := range strings.Lines(want) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "TYPE" {
			names = append(names, f[2])
		}
	}
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestHandler(t *testing.T) {
	s := httptest.NewServer(Handler(source{}))
	defer s.Close()
	resp, err := s.Client().Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(body), "\n")
	for _, want := range []string{`fastlb_steering_packets_total{verdict="redirect"} 11`, `fastlb_kernel_drops_total{reason="queue full"} 1`,
		`fastlb_worker_drops_total{reason="no_route",worker="3"} 1`, `fastlb_worker_drops_total{reason="runt",worker="3"} 0`, `fastlb_worker_passed_total{reason="pass_no_service",worker="3"} 2`} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %s", want)
		}
	}
	for _, want := range []string{"go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(string(body), "\n"+want) {
			t.Errorf("no metric %s", want)
		}
	}
}

func TestBrokenSource(t *testing.T) {
	s := httptest.NewServer(Handler(source{err: errors.New("gone")}))
	defer s.Close()
	resp, err := s.Client().Get(s.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 500 {
		t.Errorf("status %s", resp.Status)
	}
}

func TestListen(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(l.Addr().String()); err == nil {
		t.Error("an address in use was taken")
	}
}
