// Package tune fits a machine to its workers: it finds the interrupts of a NIC's queues, plans where each is to be
// handled and which queues RSS is to fill, changes both, and puts back what was there.
//
//	queue ── netlink netdev (Linux 6.8), else names in /proc/interrupts ──▶ IRQ ── smp_affinity ──▶ the worker's CPU
//	packet ── RSS hash ──▶ indirection table ──▶ a queue that has a worker
//
// Plans are pure; files are found below the roots of a System, so that tests have machines of their own. What is changed
// is written down first (Keeper): a director that was killed leaves its settings behind, and the next one must not take
// them for the machine's own.
//
// It decides nothing about workers: director has placed them before. It is not for anything that happens per packet.
package tune
