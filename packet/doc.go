// Package packet holds the byte views and the arithmetic of packets: addresses as the tables keep them, one-pass
// parsing of Ethernet frames into a reusable struct, header views, incremental checksums (RFC 1624) and the Toeplitz
// hash of receive-side scaling.
//
// It is a leaf: it knows nothing of services or connections, allocates nothing, and never fails on wire input: an
// unknown or broken packet is a value (Kind, with its reason), not an error.
//
// Called by flow, modes, worker, capture and the tests of all of them.
package packet
