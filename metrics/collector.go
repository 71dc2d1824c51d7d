package metrics

import (
	"net/netip"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fastlb/fastlb/control"
	"github.com/fastlb/fastlb/director"
	"github.com/fastlb/fastlb/perf"
	"github.com/fastlb/fastlb/service"
)

// Source is where the numbers come from.
type Source interface {
	Status() (director.Status, error)
	Services() ([]control.ServiceEntry, error)
}

// desc names a metric below the prefix fastlb_.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fastlb_"+name, help, labels, nil)
}

// The metrics, in the order they are sent.
var (
	buildInfo = desc("build_info", "The running fastlb; the value is 1.", "version", "go")

	serviceConns   = desc("service_connections_total", "Connections that were scheduled to a real server.", "service", "protocol")
	servicePackets = desc("service_packets_total", "Packets, by direction: in is client to server.", "service", "protocol", "direction")
	serviceBytes   = desc("service_bytes_total", "Bytes of IP packets, by direction: in is client to server.", "service", "protocol", "direction")

	serverConns      = desc("server_connections_total", "Connections scheduled to the real server.", "service", "protocol", "server")
	serverPackets    = desc("server_packets_total", "Packets, by direction: in is client to server.", "service", "protocol", "server", "direction")
	serverBytes      = desc("server_bytes_total", "Bytes of IP packets, by direction: in is client to server.", "service", "protocol", "server", "direction")
	serverActive     = desc("server_active_connections", "Active connections, as ipvsadm counts them.", "service", "protocol", "server")
	serverInactive   = desc("server_inactive_connections", "Inactive connections, as ipvsadm counts them.", "service", "protocol", "server")
	serverPersistent = desc("server_persistent_connections", "Persistence templates that bind clients to the real server.", "service", "protocol", "server")
	serverWeight     = desc("server_weight", "Weight of the real server; 0 takes no new connections.", "service", "protocol", "server")
	serverUp         = desc("server_up", "1 if the real server takes new connections.", "service", "protocol", "server")

	workerPackets = desc("worker_packets_total", "Packets received (in) and sent (out).", "worker", "direction")
	workerBytes   = desc("worker_bytes_total", "Bytes of frames received (in) and sent (out).", "worker", "direction")
	workerDrops   = desc("worker_drops_total", "Packets that were dropped, by reason (docs/reference/reasons.md).", "worker", "reason")
	workerPasses  = desc("worker_passed_total", "Packets handed back to the kernel, by reason (docs/reference/reasons.md).", "worker", "reason")
	workerBatch   = desc("worker_batch_size", "Packets a round, of rounds that had any.", "worker")
	workerBusy    = desc("worker_busy_ratio", "Share of the last seconds spent on packets.", "worker")
	workerCalls   = desc("worker_syscalls_total", "System calls, by kind: send, receive (wakeups of the kernel) and poll (waiting for packets).", "worker", "kind")
	workerFrames  = desc("worker_frames", "UMEM frames by where they are; missing is where none should be.", "worker", "state")
	workerCopied  = desc("worker_copied_total", "Frames copied between interfaces that cannot share them.", "worker")

	queuePackets  = desc("ring_packets_total", "Packets received (in) and sent (out) through the socket.", "worker", "interface", "queue", "direction")
	ringFillEmpty = desc("ring_fill_empty_total", "Packets that the kernel dropped because no frame was free.", "worker", "interface", "queue")
	ringRXFull    = desc("ring_rx_full_total", "Packets that the kernel dropped because the worker was late.", "worker", "interface", "queue")
	ringRXDropped = desc("ring_rx_dropped_total", "Packets that the kernel dropped at the socket for other reasons.", "worker", "interface", "queue")
	ringTXFull    = desc("ring_tx_full_total", "Packets that did not fit into the TX ring.", "worker", "interface", "queue")
	ringWakeups   = desc("ring_wakeups_total", "System calls that woke the kernel.", "worker", "interface", "queue")

	attachInfo = desc("interface_attach_info", "How the interface is attached; the value is 1.", "interface", "mode")
	queueInfo  = desc("queue_info", "Where a NIC's queue is handled: worker, its CPU, that CPU's NUMA node, and the CPUs of its interrupts; the value is 1.",
		"interface", "queue", "worker", "cpu", "node", "irq_cpus")
	linkUp = desc("interface_up", "1 if the interface is up.", "interface")

	flowEntries  = desc("flow_entries", "Connections in the table, templates included.")
	flowCapacity = desc("flow_capacity", "Connections that the table can hold.")
	flowRefused  = desc("flow_refused_total", "New connections refused because the table was full.")

	kernelPackets = desc("kernel_packets_total", "Packets handed back to the kernel's stack through the tun device.")
	kernelDrops   = desc("kernel_drops_total", "Packets for the kernel's stack that were lost.", "reason")
	steering      = desc("steering_packets_total", "Packets by how the XDP program ended.", "verdict")
)

// collector is the prometheus.Collector of a Source.
type collector struct{ from Source }

// New returns a collector of everything that a director counts.
func New(from Source) prometheus.Collector { return &collector{from} }

// Describe sends nothing: which metrics there are depends on what is set up.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// batch sends metrics of one scrape.
type batch chan<- prometheus.Metric

func (b batch) counter(d *prometheus.Desc, v uint64, labels ...string) {
	b <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (b batch) gauge(d *prometheus.Desc, v float64, labels ...string) {
	b <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// Collect reads the source once.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s, err := c.from.Status()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(buildInfo, err)
		return
	}
	list, err := c.from.Services()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(serviceConns, err)
		return
	}
	b := batch(ch)
	b.gauge(buildInfo, 1, s.Version, s.Go)
	for i := range list {
		b.service(&list[i])
	}
	for i := range s.Workers {
		b.worker(&s.Workers[i])
	}
	for _, f := range s.Interfaces {
		b.gauge(attachInfo, 1, f.Name, f.Mode)
		b.gauge(linkUp, truth(f.Up), f.Name)
	}
	for i := range s.Placement {
		b.place(&s.Placement[i])
	}
	b.gauge(flowEntries, float64(s.Flows.Entries))
	b.gauge(flowCapacity, float64(s.Flows.Capacity))
	b.counter(flowRefused, s.Flows.Refused)
	b.counter(kernelPackets, s.Kernel.Packets)
	b.counter(kernelDrops, s.Kernel.Dropped, "queue full")
	b.counter(kernelDrops, s.Kernel.Errors, "refused")
	for verdict, n := range s.Steering {
		b.counter(steering, n, verdict)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// serviceLabels are the labels service and protocol: a mark's service is called "mark 1" and has no protocol.
func serviceLabels(id service.ID) (name, protocol string) {
	if id.Mark != 0 {
		return id.String(), ""
	}
	return netip.AddrPortFrom(id.Addr, id.Port).String(), service.ProtocolName(id.Protocol)
}

func (b batch) service(e *control.ServiceEntry) {
	name, protocol := serviceLabels(e.Spec.ID)
	b.counter(serviceConns, e.Stats.Conns, name, protocol)
	b.counter(servicePackets, e.Stats.InPkts, name, protocol, "in")
	b.counter(servicePackets, e.Stats.OutPkts, name, protocol, "out")
	b.counter(serviceBytes, e.Stats.InBytes, name, protocol, "in")
	b.counter(serviceBytes, e.Stats.OutBytes, name, protocol, "out")
	for i := range e.Servers {
		d := &e.Servers[i]
		server := d.Spec.ServerID.String()
		b.counter(serverConns, d.Stats.Conns, name, protocol, server)
		b.counter(serverPackets, d.Stats.InPkts, name, protocol, server, "in")
		b.counter(serverPackets, d.Stats.OutPkts, name, protocol, server, "out")
		b.counter(serverBytes, d.Stats.InBytes, name, protocol, server, "in")
		b.counter(serverBytes, d.Stats.OutBytes, name, protocol, server, "out")
		b.gauge(serverActive, float64(d.Active), name, protocol, server)
		b.gauge(serverInactive, float64(d.Inactive), name, protocol, server)
		b.gauge(serverPersistent, float64(d.Persistent), name, protocol, server)
		b.gauge(serverWeight, float64(d.Spec.Weight), name, protocol, server)
		b.gauge(serverUp, truth(d.Spec.Weight > 0), name, protocol, server)
	}
}

func (b batch) worker(w *director.WorkerStatus) {
	id := strconv.Itoa(w.ID)
	b.counter(workerPackets, w.RXPackets, id, "in")
	b.counter(workerPackets, w.TXPackets, id, "out")
	b.counter(workerBytes, w.RXBytes, id, "in")
	b.counter(workerBytes, w.TXBytes, id, "out")
	m := &w.Memory
	for state, n := range map[string]int{
		"free": m.Free, "filled": m.Filled, "in_driver": m.InDriver, "received": m.Received, "sending": m.Sending, "held": m.Held, "missing": m.Missing,
	} {
		b.gauge(workerFrames, float64(n), id, state)
	}
	b.counter(workerCopied, m.Copied, id)
	// every reason from the start, so that the first packet lost is an increase
	for r := perf.ReasonNone + 1; int(r) < perf.Reasons; r++ {
		if r.IsPass() {
			b.counter(workerPasses, w.Passes[r.String()], id, r.String())
		} else {
			b.counter(workerDrops, w.Drops[r.String()], id, r.String())
		}
	}
	b.histogram(workerBatch, &w.Batch, id)
	b.gauge(workerBusy, w.Busy, id)
	b.counter(workerCalls, w.Syscalls.Send, id, "send")
	b.counter(workerCalls, w.Syscalls.Receive, id, "receive")
	b.counter(workerCalls, w.Syscalls.Poll, id, "poll")
	for i := range w.Queues {
		q := &w.Queues[i]
		queue := strconv.Itoa(q.Queue)
		b.counter(queuePackets, q.RXPackets, id, q.Interface, queue, "in")
		b.counter(queuePackets, q.TXPackets, id, q.Interface, queue, "out")
		b.counter(ringFillEmpty, q.FillRingEmpty, id, q.Interface, queue)
		b.counter(ringRXFull, q.RXRingFull, id, q.Interface, queue)
		b.counter(ringRXDropped, q.RXDropped, id, q.Interface, queue)
		b.counter(ringTXFull, q.TXRingFull, id, q.Interface, queue)
		b.counter(ringWakeups, q.Wakeups, id, q.Interface, queue)
	}
}

// histogram converts to Prometheus' cumulative buckets.
func (b batch) histogram(d *prometheus.Desc, h *director.Histogram, labels ...string) {
	buckets := make(map[float64]uint64, len(h.Bounds))
	var n uint64
	for i, c := range h.Counts {
		n += c
		if i < len(h.Bounds) {
			buckets[float64(h.Bounds[i])] = n
		}
	}
	b <- prometheus.MustNewConstHistogram(d, n, float64(h.Sum), buckets, labels...)
}
