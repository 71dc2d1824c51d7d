package director

// QueuePlace is where a NIC's queue is handled: its interrupts, and its worker.
type QueuePlace struct {
	Interface string      `json:"interface"`
	Queue     int         `json:"queue"`
	Node      int         `json:"node"` // NUMA node of the NIC, -1: unknown
	IRQs      []IRQStatus `json:"irqs"` // none: unknown, as a virtual interface's are
	Worker    int         `json:"worker"`
	CPU       int         `json:"cpu"`      // of the worker, -1: not pinned
	CPUNode   int         `json:"cpu_node"` // of that CPU, -1: unknown
}

// IRQStatus is an interrupt of a queue.
type IRQStatus struct {
	IRQ  int    `json:"irq"`
	Name string `json:"name"`
	CPUs string `json:"cpus"` // that handle it: "2-5,8"; "": unknown
	Node int    `json:"node"` // of those, -1: unknown, or several
}
