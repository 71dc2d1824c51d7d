// Package service holds virtual services and real servers: what the user asked for (Spec, ServerSpec), the desired
// state with the semantics and errors of the kernel's ip_vs control interface (Table), the off-heap slots that servers
// live in (Server), and the immutable Snapshot that workers read.
//
// It is pure: no sockets, no clock, no goroutines. It does not know how schedulers work, only their interface.
//
// Called by sched, worker, control, config, ipvsadm, xdp.
package service
