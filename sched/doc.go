// Package sched holds the fourteen schedulers of LVS, a file each, named as LVS names them. A scheduler chooses the real
// server of a new connection exactly as the kernel's does (spec/schedulers.md): same lists, same cursors, same hashes.
//
// Schedulers are not safe for concurrent use: service.Service.Pick serialises them. They read no clock (the request
// carries the time), draw randomness from the source they are given, and do not allocate when they choose.
//
// Called by service, through the interface that it declares; made by control.
package sched
