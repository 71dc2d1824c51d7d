// Command guest is process 1 of the machine in which the end-to-end test of zero copy runs the director: it gives the
// machine's NICs their addresses and does what the host asks (package vm/guest).
package main
