package tune

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// System is where the kernel shows itself.
type System struct {
	Proc, Sys string // mount points
}

// Live is the machine that runs this.
var Live = System{Proc: "/proc", Sys: "/sys"}

// IRQ is an interrupt of the machine.
type IRQ struct {
	Number int
	Name   string // what the driver calls it, "": unknown
}

// NamedIRQs finds the interrupts of a NIC's queues by the names that drivers give them; the result is by queue. device is
// the NIC on its bus, as ethtool -i tells it: a name of the interface would be looked up in the network namespace that
// /sys was mounted in. A queue may have none (virtual interfaces), one, or one for each direction.
func (s System) NamedIRQs(name, device string, queues int) ([][]IRQ, error) {
	out := make([][]IRQ, queues)
	own, err := s.deviceIRQs(device)
	if err != nil || len(own) == 0 {
		return out, err
	}
	all, err := s.IRQNames()
	if err != nil {
		return out, err
	}
	type found struct {
		irq   IRQ
		queue int
	}
	var list []found
	named := false // some bear the interface's name: then others are another port's of the same device
	for _, n := range own {
		irq := IRQ{n, all[n]}
		if q, ok := queueOf(irq.Name); ok && q < queues {
			list = append(list, found{irq, q})
			named = named || bears(irq.Name, name)
		}
	}
	for _, f := range list {
		if !named || bears(f.irq.Name, name) {
			out[f.queue] = append(out[f.queue], f.irq)
		}
	}
	if len(list) == 0 && len(own) == 1 && queues == 1 {
		out[0] = []IRQ{{own[0], all[own[0]]}}
	}
	return out, nil
}

// merge adds to what names tell what the kernel tells, which wins where they differ.
func merge(named [][]IRQ, told [][]int, names map[int]string) {
	for q := range named {
		named[q] = slices.DeleteFunc(named[q], func(i IRQ) bool {
			elsewhere := slices.ContainsFunc(told, func(list []int) bool { return slices.Contains(list, i.Number) })
			return elsewhere && !slices.Contains(told[q], i.Number)
		})
		for _, n := range told[q] {
			if !slices.ContainsFunc(named[q], func(i IRQ) bool { return i.Number == n }) {
				named[q] = append(named[q], IRQ{n, names[n]})
			}
		}
		slices.SortFunc(named[q], func(a, b IRQ) int { return a.Number - b.Number })
	}
}

// deviceIRQs are the interrupts that a device has, ascending.
func (s System) deviceIRQs(device string) ([]int, error) {
	if device == "" || strings.ContainsAny(device, `/*?[\`) {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(s.Sys, "bus/*/devices", device, "msi_irqs/*"))
	if err != nil {
		return nil, fmt.Errorf("interrupts of device %s: %w", device, err)
	}
	var list []int
	for _, f := range files {
		if n, err := strconv.Atoi(filepath.Base(f)); err == nil {
			list = append(list, n)
		}
	}
	if len(list) == 0 { // a line of its own instead of messages
		lines, err := filepath.Glob(filepath.Join(s.Sys, "bus/*/devices", device, "irq"))
		if err != nil {
			return nil, fmt.Errorf("interrupts of device %s: %w", device, err)
		}
		for _, f := range lines {
			b, err := os.ReadFile(f)
			if err != nil {
				return nil, fmt.Errorf("interrupts of device %s: %w", device, err)
			}
			if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && n > 0 {
				list = append(list, n)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// IRQNames reads the machine's interrupts with the names that drivers gave them.
func (s System) IRQNames() (map[int]string, error) {
	f, err := os.Open(filepath.Join(s.Proc, "interrupts"))
	if err != nil {
		return nil, fmt.Errorf("names of interrupts: %w", err)
	}
	defer f.Close()
	out := map[int]string{}
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20) // a column a CPU
	columns := 0
	for sc.Scan() {
		words := strings.Fields(sc.Text())
		if columns == 0 {
			columns = len(words)
			continue
		}
		if len(words) < 1+columns {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSuffix(words[0], ":")); err == nil {
			out[n] = actionsOf(words[1+columns:])
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("names of interrupts: %w", err)
	}
	return out, nil
}

// actionsOf drops what stands between the counts and the names: the chip, the number on it and how it triggers, of which
// a kernel shows what it has.
func actionsOf(words []string) string {
	for i, w := range words {
		if i > 0 && trigger.MatchString(w) {
			return strings.Join(words[i+1:], " ")
		}
	}
	return strings.Join(words[min(2, len(words)):], " ")
}

// trigger is how x86 ("3-edge", with the number) and others ("Edge", after the number) tell how an interrupt triggers.
var trigger = regexp.MustCompile(`^(?:\d+-\w+|Edge|Level)$`)

// What drivers call the interrupts of their queues: eth0-TxRx-3, i40e-eth0-TxRx-3, mlx5_comp3@pci:0000:01:00.0,
// virtio0-input.3, eth0-Tx-Rx-3, eth0-rx-3, eth0-fp-3, eth0-Rx3; and eth0-q3-rx, mana_q3@pci:….
var queueNames = []*regexp.Regexp{
	regexp.MustCompile(`(?i)(?:^|[^a-z])(?:tx-?rx|rx-?tx|fp|comp|input|output|rx|tx|queue)[-._ ]?(\d+)\)?(?:@\S+)?$`),
	regexp.MustCompile(`(?i)(?:^|[-_ .:])q(\d+)(?:-(?:rx|tx))?(?:@\S+)?$`),
	regexp.MustCompile(`^mlx4-(\d+)@`),
}

// queueOf reads a queue's number out of an interrupt's name.
func queueOf(name string) (queue int, ok bool) {
	for _, r := range queueNames {
		if m := r.FindStringSubmatch(name); m != nil {
			n, err := strconv.Atoi(m[1])
			return n, err == nil
		}
	}
	return 0, false
}

// bears tells whether an interrupt's name has an interface's name in it, between separators: the name may have some itself.
func bears(irq, name string) bool {
	const separators = "-@: ,"
	for i := range irq {
		rest, ok := strings.CutPrefix(irq[i:], name)
		if ok && (i == 0 || strings.IndexByte(separators, irq[i-1]) >= 0) && (rest == "" || strings.IndexByte(separators, rest[0]) >= 0) {
			return true
		}
	}
	return false
}

// Affinity reads where an interrupt may be handled and where it is, as lists of CPUs ("2-5,8"). effective is "" where the
// kernel does not tell.
func (s System) Affinity(irq int) (allowed, effective string, err error) {
	if allowed, err = s.readIRQ(irq, "smp_affinity_list"); err != nil {
		return "", "", err
	}
	effective, err = s.readIRQ(irq, "effective_affinity_list")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return allowed, effective, err
}

func (s System) readIRQ(irq int, file string) (string, error) {
	b, err := os.ReadFile(s.irqFile(irq, file))
	if err != nil {
		return "", fmt.Errorf("interrupt %d: %w", irq, err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (s System) irqFile(irq int, file string) string {
	return filepath.Join(s.Proc, "irq", strconv.Itoa(irq), file)
}
