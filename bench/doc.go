// Package bench measures the dataplane on this machine with no NIC: the real worker on memory rings, from a descriptor on
// the RX ring to a descriptor on the TX ring, everything counted, beside what a bare memory miss costs over an area as
// large as the connection table. Absolute figures belong to the machine; the ratio of the two travels.
//
// Called by cmd/fastlb's bench and by the benchmarks of go test.
package bench
