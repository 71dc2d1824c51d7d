package tune

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// irqAffinity is where an interrupt may be handled: a list of CPUs.
type irqAffinity struct {
	sys System
	irq IRQ
}

// AffinityOf is an interrupt's affinity as a setting. Its name is part of the key: numbers are given to other devices
// when a driver is loaded again.
func (s System) AffinityOf(irq IRQ) Setting { return irqAffinity{s, irq} }

const irqKey = "irq"

func (a irqAffinity) Key() string { return fmt.Sprintf("%s %d %s", irqKey, a.irq.Number, a.irq.Name) }

func (a irqAffinity) Read() (string, error) { return a.sys.readIRQ(a.irq.Number, "smp_affinity_list") }

func (a irqAffinity) Write(cpus string) error {
	f, err := os.OpenFile(a.sys.irqFile(a.irq.Number, "smp_affinity_list"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fmt.Errorf("interrupt %d: %w", a.irq.Number, err)
	}
	_, err = f.WriteString(cpus)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("interrupt %d to CPU %s: %w", a.irq.Number, cpus, err)
	}
	return nil
}

// openAffinity finds the interrupt of a key; nil: the number is another's now.
func (s System) openAffinity(number, name string) Setting {
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil
	}
	if names, err := s.IRQNames(); err != nil || names[n] != name {
		return nil
	}
	return s.AffinityOf(IRQ{n, name})
}

// TableText is a list of queues as a setting's value.
func TableText(table []int) string {
	words := make([]string, len(table))
	for i, q := range table {
		words[i] = strconv.Itoa(q)
	}
	return strings.Join(words, " ")
}

// ParseTable reads what TableText writes.
func ParseTable(s string) ([]int, error) {
	var table []int
	for _, w := range strings.Fields(s) {
		q, err := strconv.Atoi(w)
		if err != nil {
			return nil, fmt.Errorf("RSS table: %q is no queue", w)
		}
		table = append(table, q)
	}
	return table, nil
}
