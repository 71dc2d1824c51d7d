package metrics

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fastlb/fastlb/director"
)

// place shows where a queue is handled. What is not known is an empty label.
func (b batch) place(p *director.QueuePlace) {
	known := func(n int) string {
		if n < 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	var cpus []string
	for _, irq := range p.IRQs {
		if !slices.Contains(cpus, irq.CPUs) {
			cpus = append(cpus, irq.CPUs)
		}
	}
	b.gauge(queueInfo, 1, p.Interface, strconv.Itoa(p.Queue), strconv.Itoa(p.Worker), known(p.CPU), known(p.CPUNode), strings.Join(cpus, ","))
}
