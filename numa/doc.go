// Package numa knows the machine: which CPUs belong to which node, which node a NIC hangs on, and how to keep a thread
// and its memory there. It pins the calling thread, allocates memory in huge pages and binds it to a node.
//
// It decides nothing: director chooses CPUs and nodes. On a machine with one node, and on systems other than Linux, the
// policies are harmless no-ops. Goroutines are tied to threads by the caller (runtime.LockOSThread).
package numa
