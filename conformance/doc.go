// Package conformance compares fastlb with the IPVS of a Linux kernel: the same frames and commands in, the same frames,
// listings and connections out. It is what `make conformance` runs, by way of conformance/run.
//
//	authors (this package) ──cases──▶ the guest: a Debian kernel under QEMU, its IPVS, its ipvsadm (conformance/guest)
//	                          │                         │ results, with the time of each step
//	                          └────────────────────────▶ Compare: fastlb's replay engine at those times, in process
//
// Cases are written by functions, not files: forwarding methods by families by protocols (forwarding.go), the life of
// connections (life.go), schedulers over random sequences of connections and changes (schedulers.go), random traffic of
// every kind (sequences.go). The latter two draw from a seed. While a case is being written an engine plays along, so that
// replies come from the server that was chosen and ICMP errors quote what was sent; where the kernel would have done
// otherwise the case shows it all the same. The guest knows none of this: it gets bytes.
//
// The guest's clock counts instructions and skips idle time, so a wait costs nothing and time is nearly the same in every
// run.
//
// What differs is a Difference; those that are understood and stay so are listed with their reasons in accepted.go.
package conformance
