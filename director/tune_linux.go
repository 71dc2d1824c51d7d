package director

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/fastlb/fastlb/numa"
	"github.com/fastlb/fastlb/tune"
)

// nodeOf is the NUMA node that an interface's device hangs on.
func (d *Director) nodeOf(name string) int { return d.machine.DeviceNode(d.deviceOf(name)) }

// deviceOf is an interface's device on its bus, "" for virtual ones. The driver is asked, since /sys may have been mounted
// in another network namespace, where the name is another interface's.
func (d *Director) deviceOf(name string) string {
	device, err := d.tool.BusInfo(name)
	if err != nil {
		return ""
	}
	return strings.TrimRight(device, "\x00")
}

// tuneQueues has the queues' interrupts handled where their workers are, and RSS fill the queues that have one. It comes
// after the table, whose file is locked: what another director left written beside it is a dead one's. Nothing that goes
// wrong here keeps a director from running.
func (d *Director) tuneQueues() error {
	change := d.cfg.Workers.Tune != "off"
	keeper, err := tune.Live.OpenKeeper(d.keptFile())
	if err != nil {
		d.note("interrupts and RSS stay as they are", err.Error())
		change = false
	}
	nics := make([]tune.NIC, len(d.nics))
	for i, n := range d.nics {
		if n.irqs, err = tune.Live.QueueIRQs(n.name, d.deviceOf(n.name), n.index, n.total); err != nil {
			d.note("interrupts of "+n.name, err.Error())
		}
		nics[i] = tune.NIC{Name: n.name, Driver: n.driver, Total: n.total, Grown: n.grown, Table: d.tableOf(n, keeper)}
		for _, r := range d.runners {
			for _, q := range r.seat.queues[i] {
				nics[i].Queues = append(nics[i].Queues, tune.Queue{Number: q, CPU: r.seat.cpu, IRQs: n.irqs[q]})
			}
		}
		slices.SortFunc(nics[i].Queues, func(a, b tune.Queue) int { return a.Number - b.Number })
	}
	plan := tune.Make(nics, change)
	for _, w := range plan.Warnings {
		d.note(w.Subject, w.Text)
	}
	if keeper != nil {
		d.carryOut(plan, keeper)
	}
	return nil
}

// tableOf is an interface's RSS table as others made it; nil: there is none, or it cannot be read.
func (d *Director) tableOf(n *attached, keeper *tune.Keeper) []int {
	setting := d.drivers.TableOf(n.name, n.index)
	read := setting.Read
	if keeper != nil {
		read = func() (string, error) { return keeper.Original(setting) }
	}
	text, err := read()
	var table []int
	if err == nil {
		table, err = tune.ParseTable(text)
	}
	if err != nil && !errors.Is(err, tune.ErrNoTable) {
		d.log.Debug("RSS table", zap.Error(err))
	}
	return table
}

// carryOut changes what the plan says, and puts back what a director that was killed had changed and this one does not.
func (d *Director) carryOut(plan tune.Plan, keeper *tune.Keeper) {
	d.keeper = keeper
	d.keepOffloads()
	d.followBusyPoll()
	var tables, affinities []tune.Change
	for _, n := range d.nics {
		if t, ok := plan.Tables[n.name]; ok {
			tables = append(tables, tune.Change{
				Setting: d.drivers.TableOf(n.name, n.index), Value: tune.TableText(t), Found: tune.TableText(n.table),
			})
		}
	}
	for _, a := range plan.Aims {
		affinities = append(affinities, tune.Change{Setting: tune.Live.AffinityOf(a.IRQ), Value: a.CPUs.String()})
	}
	failed, err := keeper.Change(tables)
	if err == nil {
		if err = errors.Join(failed...); err != nil {
			d.note("RSS", err.Error())
		}
		failed, err = keeper.Change(affinities)
	}
	if err != nil {
		d.note("interrupts and RSS stay as they are", err.Error())
		return
	}
	d.tellFailures(failed)
	back, err := keeper.Leftovers(func(key string) tune.Setting {
		if s := d.openDeferral(key); s != nil {
			return s
		}
		if s := d.openOffload(key); s != nil {
			return s
		}
		return d.drivers.Open(key, d.indexOf)
	})
	if err != nil {
		d.log.Warn("settings of an earlier director", zap.Error(err))
	}
	if back > 0 {
		d.log.Info("settings of an earlier director put back", zap.Int("settings", back))
	}
	if len(plan.Aims) > 0 {
		d.log.Info("interrupts are handled where their queues' workers are, while the director runs",
			zap.Int("interrupts", len(plan.Aims)))
		if tune.Live.Running("irqbalance") {
			var cpus numa.CPUs
			for _, a := range plan.Aims {
				cpus = append(cpus, a.CPUs...)
			}
			slices.Sort(cpus)
			d.note("irqbalance", fmt.Sprintf("it runs, and will move the queues' interrupts away from their workers: keep it off these CPUs "+
				"(IRQBALANCE_BANNED_CPULIST=%s in /etc/default/irqbalance), or stop it", slices.Compact(cpus)))
		}
	}
	for name := range plan.Tables {
		d.log.Info("RSS fills the queues that have a worker, while the director runs", zap.String("interface", name))
	}
}

// tellFailures warns once of interrupts that could not be moved: they fail alike.
func (d *Director) tellFailures(failed []error) {
	failed = slices.DeleteFunc(failed, func(err error) bool { return err == nil })
	if len(failed) == 0 {
		return
	}
	first := failed[0]
	why := ""
	switch {
	case errors.Is(first, unix.EIO), errors.Is(first, unix.EPERM):
		why = ": the kernel does not let it be moved (the driver has left its place to the kernel)"
	case errors.Is(first, unix.EROFS), errors.Is(first, unix.EACCES):
		why = ": /proc/irq cannot be written here"
	}
	d.note("IRQ affinity", fmt.Sprintf("%d interrupts stay where they are; the first: %v%s", len(failed), first, why))
}

// keptFile is where it is written what is to be put back: beside the table's file, which outlives the process too, or
// beside the socket.
func (d *Director) keptFile() string {
	if d.cfg.Flows.State != "" {
		return d.cfg.Flows.State + ".settings"
	}
	return filepath.Clean(d.cfg.API.Socket) + ".settings"
}

// note warns of something that will not change while the director runs.
func (d *Director) note(subject, text string) {
	d.warnings[subject] = text
	d.log.Warn(subject, zap.String("warning", text))
}

// placement is where each queue is handled now: somebody else may move interrupts.
func (d *Director) placement() []QueuePlace {
	list := []QueuePlace{}
	for i, n := range d.nics {
		first := len(list)
		for _, r := range d.runners {
			for _, q := range r.seat.queues[i] {
				p := QueuePlace{
					Interface: n.name, Queue: q, Node: n.node, IRQs: []IRQStatus{},
					Worker: r.seat.id, CPU: r.seat.cpu, CPUNode: r.seat.home,
				}
				for _, irq := range n.irqs[q] {
					p.IRQs = append(p.IRQs, d.irqStatus(irq))
				}
				list = append(list, p)
			}
		}
		slices.SortFunc(list[first:], func(a, b QueuePlace) int { return a.Queue - b.Queue })
	}
	return list
}

func (d *Director) irqStatus(irq tune.IRQ) IRQStatus {
	s := IRQStatus{IRQ: irq.Number, Name: irq.Name, Node: -1}
	allowed, effective, err := tune.Live.Affinity(irq.Number)
	if err != nil {
		return s
	}
	// With one CPU to go to, an interrupt goes there the next time it comes; until then effective is where it was.
	s.CPUs = allowed
	cpus, err := numa.ParseCPUs(allowed)
	if err == nil && len(cpus) != 1 && effective != "" {
		s.CPUs = effective
		cpus, err = numa.ParseCPUs(effective)
	}
	if err != nil {
		return s
	}
	for i, c := range cpus {
		if node := d.machine.NodeOf(c); i == 0 {
			s.Node = node
		} else if node != s.Node {
			s.Node = -1
		}
	}
	return s
}
